// What the SDK makes of the node's refusals: it reads their texts.
import { answer, given } from "../kit.mjs";
import { ccc, client, lockOf, owner, wallet } from "./kit.mjs";

const lock = await lockOf(wallet(given.other));
const paying = async (fee) => {
  const tx = ccc.Transaction.from({ inputs: [{ previousOutput: source.outPoint }], outputs: [{ lock }] });
  tx.outputs[0].capacity = source.cellOutput.capacity - fee;
  return owner.signTransaction(tx);
};
const refusal = (tx) =>
  client.sendTransactionNoCache(tx).then(
    () => ({ class: "taken" }),
    (error) => ({ class: error.constructor.name, ...error }),
  );

const [source] = (await client.findCellsPaged({ script: await lockOf(owner), scriptType: "lock", filter: { scriptLenRange: [0, 1] } }, "desc", 1)).cells;
const first = await paying(100_000n);
await client.sendTransactionNoCache(first);
const duplicated = await refusal(first);
const cheap = await refusal(await paying(100_001n));
const replacement = await paying(200_000n);
await client.sendTransactionNoCache(replacement);

const unknown = await refusal({
  ...replacement,
  inputs: [{ previousOutput: { txHash: `0x${"11".repeat(32)}`, index: 5 }, since: 0 }],
});
const poor = await paying(1n).then(refusal);
answer({ duplicated, cheap, replaced: first.hash(), replacement: replacement.hash(), unknown, poor });
