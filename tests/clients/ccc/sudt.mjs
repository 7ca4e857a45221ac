// A token (RFC 25): its script deployed, 1,000 issued to a new account, 300 of them passed on, and more is refused.
import { answer, given } from "../kit.mjs";
import { ccc, client, lockOf, owner, send, wallet } from "./kit.mjs";

const other = wallet(given.other);
const [ownerLock, otherLock] = [await lockOf(owner), await lockOf(other)];
const deployed = await send(ccc.Transaction.from({ outputs: [{ lock: ownerLock }], outputsData: [given.code] }));
const cellDeps = [{ outPoint: { txHash: deployed, index: 0 }, depType: "code" }];
const type = ccc.Script.from({ codeHash: ccc.hashCkb(given.code), hashType: "data1", args: ownerLock.hash() });
const tokens = (amount) => ccc.numLeToBytes(amount, 16);

const issued = await send(
  ccc.Transaction.from({
    cellDeps,
    outputs: [{ lock: otherLock, type }, { lock: otherLock, capacity: ccc.fixedPointFrom(1000) }],
    outputsData: [tokens(1000), "0x"],
  }),
);
const passOn = async (amount, kept, complete = (tx) => tx.completeInputsByUdt(other, type)) => {
  const tx = ccc.Transaction.from({
    cellDeps,
    outputs: [{ lock: ownerLock, type }, { lock: otherLock, type }],
    outputsData: [tokens(amount), tokens(kept)],
  });
  await complete(tx);
  return send(tx, other);
};
const byHand = async (tx) => {
  for await (const cell of client.findCellsByLock(otherLock, type, true)) tx.addInput(cell);
};
const tooMuch = await passOn(300, 701, byHand).catch((error) => ({ class: error.constructor.name, ...error }));
const passed = await passOn(300, 700);
const sum = async (lock) => {
  let total = 0n;
  for await (const cell of client.findCellsByLock(lock, type, true)) total += ccc.udtBalanceFrom(cell.outputData);
  return total;
};
answer({ type, issued, tooMuch, passed, owner: await sum(ownerLock), other: await sum(otherLock) });
