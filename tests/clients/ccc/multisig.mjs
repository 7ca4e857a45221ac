// 500 CKB to two of three keys, 200 of them on to the owner. This version of the SDK has no signer for it, only the parts.
import { answer, given } from "../kit.mjs";
import { ccc, client, committed, lockOf, owner, send, wallet } from "./kit.mjs";

const members = given.members.map(wallet);
const config = ccc.bytesConcat([0, 1, 2, 3], ...members.map(({ publicKey }) => ccc.bytesFrom(ccc.hashCkb(publicKey)).slice(0, 20)));
const args = ccc.bytesFrom(ccc.hashCkb(config)).slice(0, 20);
const lock = await ccc.Script.fromKnownScript(client, ccc.KnownScript.Secp256k1Multisig, args);
const paid = await send(ccc.Transaction.from({ outputs: [{ lock, capacity: ccc.fixedPointFrom(500) }] }));

const group = new ccc.SignerCkbScriptReadonly(client, lock);
const tx = ccc.Transaction.from({ outputs: [{ lock: await lockOf(owner), capacity: ccc.fixedPointFrom(200) }] });
await tx.addCellDepsOfKnownScripts(client, ccc.KnownScript.Secp256k1Multisig);
await tx.completeInputsByCapacity(group);
const unsigned = ccc.WitnessArgs.from({ lock: ccc.bytesConcat(config, new Uint8Array(2 * 65)) });
tx.setWitnessArgsAt(0, unsigned);
await tx.completeFeeBy(group, 1000);

async function signedBy(...signers) {
  tx.setWitnessArgsAt(0, unsigned);
  const { message } = await tx.getSignHashInfo(lock, client);
  const signatures = await Promise.all(signers.map((signer) => signer._signMessage(message)));
  tx.setWitnessArgsAt(0, ccc.WitnessArgs.from({ lock: ccc.bytesConcat(config, ...signatures) }));
  return tx;
}
const [first, second, third] = members;
const early = await client
  .sendTransaction(await signedBy(second, third))
  .then(() => "taken", (error) => ({ class: error.constructor.name, ...error }));
const spent = await committed(await client.sendTransaction(await signedBy(first, third)));
answer({ lock, paid, early, spent, rest: await client.getBalance([lock]) });
