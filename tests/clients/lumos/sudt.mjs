// A token (RFC 25): its script deployed, 1,000 issued, 300 of them passed on to a new account.
import { bytes } from "@ckb-lumos/codec";
import { deploy, sudt } from "@ckb-lumos/common-scripts";
import { getConfig, initializeConfig } from "@ckb-lumos/config-manager";
import { answer, given } from "../kit.mjs";
import { account, cellsOf, indexer, owner, send, sent, signed, skeleton } from "./kit.mjs";

const other = account(given.other);
const deployment = await deploy.generateDeployWithDataTx({
  cellProvider: indexer,
  scriptBinary: bytes.bytify(given.code),
  fromInfo: owner.address,
});
await sent(signed(deployment.txSkeleton, owner.key));
// The SDK passes no tokens on without being told of an anyone-can-pay lock; this chain has none.
const { SCRIPTS, ...config } = getConfig();
const nobody = { ...SCRIPTS.SECP256K1_BLAKE160, CODE_HASH: `0x${"ac".repeat(32)}` };
initializeConfig({ ...config, SCRIPTS: { ...SCRIPTS, SUDT: deployment.scriptConfig, ANYONE_CAN_PAY: nobody } });

const issued = await send(await sudt.issueToken(skeleton(), owner.address, 1000));
const token = sudt.ownerForSudt(owner.address);
const passed = await send(await sudt.transfer(skeleton(), [owner.address], token, other.address, 300));
const { CODE_HASH: codeHash, HASH_TYPE: hashType } = deployment.scriptConfig;
const type = { codeHash, hashType, args: token };
const sum = async (lock) =>
  (await cellsOf({ lock, type })).reduce((total, { data }) => total + sudt.unpackAmount(data).toBigInt(), 0n);
answer({ type, issued, passed, owner: await sum(owner.lock), other: await sum(other.lock) });
