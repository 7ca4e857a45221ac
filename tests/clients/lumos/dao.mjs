// NervosDAO: deposit, both withdrawals, 180 epochs between. The SDK takes any cell of the depositor's lock, tokens and code
// too, so the depositor is a new account.
import { common, dao } from "@ckb-lumos/common-scripts";
import { RPC } from "@ckb-lumos/rpc";
import { answer, given, passEpochs } from "../kit.mjs";
import { CKB, account, call, indexer, owner, rpc, send, sent, signed, skeleton } from "./kit.mjs";

const saver = account(given.other);
await send(await common.transfer(skeleton(), [owner.address], saver.address, CKB(given.amount + 1000)));

async function daoCell(kind) {
  for await (const cell of dao.listDaoCells(indexer, saver.address, kind)) {
    return { ...cell, blockHash: await rpc.getBlockHash(cell.blockNumber) };
  }
}

const deposit = await send(await dao.deposit(skeleton(), saver.address, saver.address, CKB(given.amount)), saver);
await passEpochs(call, 2);
const deposited = await daoCell("deposit");
const withdrawal = await send(await dao.withdraw(skeleton(), deposited, saver.address), saver);
const withdrawn = await daoCell("withdraw");

let tx = await dao.unlock(skeleton(), deposited, withdrawn, saver.address, saver.address, { RpcClient: RPC });
tx = signed(await common.payFeeByFeeRate(tx, [saver.address], 1000), saver.key);
const early = await rpc.sendTransaction(tx, "passthrough").then(() => "taken", (error) => error.message);
await passEpochs(call, 180);
const unlocked = await sent(tx);

const [from, to] = [await rpc.getHeader(deposited.blockHash), await rpc.getHeader(withdrawn.blockHash)];
const maximum = dao.calculateMaximumWithdraw(withdrawn, from.dao, to.dao);
answer({ deposit, withdrawal, early, unlocked, profit: maximum - CKB(given.amount) });
