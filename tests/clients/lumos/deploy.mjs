// A script that refuses is deployed with a type id, and replaced by one that accepts: what uses it by that id feels it.
import { bytes } from "@ckb-lumos/codec";
import { common, deploy } from "@ckb-lumos/common-scripts";
import { addCellDep } from "@ckb-lumos/common-scripts/lib/helper.js";
import { answer, given } from "../kit.mjs";
import { CKB, indexer, owner, rpc, send, sent, signed, skeleton } from "./kit.mjs";

const options = (code) => ({ cellProvider: indexer, scriptBinary: bytes.bytify(code), fromInfo: owner.address });
const first = await deploy.generateDeployWithTypeIdTx(options(given.refusing));
const deployed = await sent(signed(first.txSkeleton, owner.key));

async function use({ CODE_HASH: codeHash, HASH_TYPE: hashType, TX_HASH: txHash, INDEX: index, DEP_TYPE: depType }) {
  const cellOutput = { capacity: `0x${CKB(200).toString(16)}`, lock: owner.lock, type: { codeHash, hashType, args: "0x" } };
  let tx = addCellDep(skeleton(), { outPoint: { txHash, index }, depType });
  tx = tx.update("outputs", (outputs) => outputs.push({ cellOutput, data: "0x" }));
  tx = tx.update("fixedEntries", (entries) => entries.push({ field: "outputs", index: 0 }));
  return send(await common.injectCapacity(tx, [owner.address], CKB(200)));
}
const refused = await use(first.scriptConfig).then(() => "taken", (error) => error.message);

const second = await deploy.generateUpgradeTypeIdDataTx({ ...options(given.accepting), typeId: first.typeId });
const upgraded = await sent(signed(second.txSkeleton, owner.key));
const used = await use(second.scriptConfig);

const plain = await deploy.generateDeployWithDataTx(options(given.accepting));
const data = await sent(signed(plain.txSkeleton, owner.key));
const compare = (code) =>
  deploy.compareScriptBinaryWithOnChainData(bytes.bytify(code), { txHash: upgraded, index: "0x0" }, rpc);
answer({
  deployed,
  typeId: first.typeId,
  refused,
  upgraded,
  used,
  data,
  same: [await compare(given.accepting), await compare(given.refusing)],
});
