// A script that refuses is deployed with a type id, and replaced by one that accepts: what uses it by that id feels it.
import { answer, given } from "../kit.mjs";
import { ccc, client, committed, lockOf, owner, send } from "./kit.mjs";

const lock = await lockOf(owner);
const typeId = await ccc.Script.fromKnownScript(client, ccc.KnownScript.TypeId, "00".repeat(32));
const tx = ccc.Transaction.from({ outputs: [{ lock, type: typeId }], outputsData: [given.refusing] });
await tx.completeInputsByCapacity(owner);
tx.outputs[0].type.args = ccc.hashTypeId(tx.inputs[0], 0);
await tx.completeFeeBy(owner, 1000);
const deployed = await committed(await owner.sendTransaction(tx));
const { type } = tx.outputs[0];

const use = (outPoint) =>
  ccc.Transaction.from({
    cellDeps: [{ outPoint, depType: "code" }],
    outputs: [{ lock, type: { codeHash: type.hash(), hashType: "type", args: "0x" } }],
  });
const refused = await send(use({ txHash: deployed, index: 0 })).catch((error) => error);

const code = await client.findSingletonCellByType(type, true);
const upgrade = ccc.Transaction.from({
  inputs: [{ previousOutput: code.outPoint }],
  outputs: [{ lock, type }],
  outputsData: [given.accepting],
});
const upgraded = await send(upgrade);
const found = await client.findSingletonCellByType(type, true);
const used = await send(use(found.outPoint));
answer({
  deployed,
  typeId: type,
  refused: { class: refused.constructor.name, ...refused },
  upgraded,
  found: found.outPoint.txHash,
  data: found.outputData,
  used,
});
