// The indexer's news of a lock, which the SDK makes from blocks. It looks at the tip every three seconds, so the block with
// the transfer stays the tip.
import { common } from "@ckb-lumos/common-scripts";
import { answer, given } from "../kit.mjs";
import { CKB, account, call, indexer, owner, rpc, signed, skeleton } from "./kit.mjs";

const { lock, address } = account(given.other);
const medianTime = new Promise((resolve) => indexer.subscribeMedianTime().on("changed", resolve));
const changed = new Promise((resolve) => indexer.subscribe({ lock }).on("changed", () => resolve(true)));
let tx = await common.transfer(skeleton(), [owner.address], address, CKB(100));
tx = signed(await common.payFeeByFeeRate(tx, [owner.address], 1000), owner.key);
const hash = await rpc.sendTransaction(tx, "passthrough");
while ((await rpc.getTransaction(hash)).txStatus.status !== "committed") await call("generate_block");
answer({ hash, changed: await changed, medianTime: await medianTime });
