// 1,000 CKB to the first account of a new HD wallet, and 900 of it back.
import { common } from "@ckb-lumos/common-scripts";
import { AddressType, ExtendedPrivateKey, mnemonic } from "@ckb-lumos/hd";
import { answer, given } from "../kit.mjs";
import { CKB, account, balanceOf, owner, send, skeleton } from "./kit.mjs";

const seed = mnemonic.mnemonicToSeedSync(given.words);
const master = ExtendedPrivateKey.fromSeed(seed);
const other = account(master.privateKeyInfo(AddressType.Receiving, 0).privateKey);

const before = await balanceOf(owner.lock);
const hash = await send(await common.transfer(skeleton(), [owner.address], other.address, CKB(1000)));
const [paid, received] = [await balanceOf(owner.lock), await balanceOf(other.lock)];
const returned = await send(await common.transfer(skeleton(), [other.address], owner.address, CKB(900)), other);
answer({
  before,
  hash,
  paid,
  received,
  returned,
  after: await balanceOf(owner.lock),
  rest: await balanceOf(other.lock),
});
