// 500 CKB to two of three keys, 200 of them on to the owner.
import { common, parseFromInfo } from "@ckb-lumos/common-scripts";
import { key as hdKey } from "@ckb-lumos/hd";
import { encodeToAddress } from "@ckb-lumos/helpers";
import { answer, given } from "../kit.mjs";
import { CKB, balanceOf, owner, rpc, send, sent, signed, skeleton } from "./kit.mjs";

const members = { R: 1, M: 2, publicKeyHashes: given.members.map((key) => hdKey.privateKeyToBlake160(key)) };
const { fromScript: lock, multisigScript } = parseFromInfo(members);
const paid = await send(await common.transfer(skeleton(), [owner.address], encodeToAddress(lock), CKB(500)));

let tx = await common.transfer(skeleton(), [members], owner.address, CKB(200));
tx = await common.payFeeByFeeRate(tx, [members], 1000);
const sealWith = (first, second) => (message) =>
  [first, second].reduce((text, key) => text + hdKey.signRecoverable(message, key).slice(2), multisigScript);
const [first, second, third] = given.members;
const early = await rpc
  .sendTransaction(signed(tx, undefined, sealWith(second, third)), "passthrough")
  .then(() => "taken", (error) => error.message);
const spent = await sent(signed(tx, undefined, sealWith(first, third)));
answer({ lock, paid, early, spent, rest: await balanceOf(lock) });
