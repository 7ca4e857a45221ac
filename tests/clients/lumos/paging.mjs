// Pages of cells and transactions of one lock, in both orders.
import { TransactionCollector } from "@ckb-lumos/ckb-indexer";
import { common } from "@ckb-lumos/common-scripts";
import { answer, given } from "../kit.mjs";
import { CKB, account, cellsOf, indexer, owner, send, skeleton } from "./kit.mjs";

const { lock, address } = account(given.other);
for (const count of given.cells) {
  let tx = skeleton();
  for (let index = 0; index < count; index++) tx = await common.transfer(tx, [owner.address], address, CKB(61));
  await send(tx);
}
const places = (cells) => cells.map(({ outPoint }) => [outPoint.txHash, outPoint.index]);
const query = (order) => ({ lock, order, bufferSize: given.page });

async function transactions(order) {
  const found = [];
  let lastCursor;
  for (;;) {
    const filter = { sizeLimit: given.page, order, lastCursor };
    const page = await indexer.getTransactions({ script: lock, scriptType: "lock" }, filter);
    if (page.objects.length === 0) return found;
    found.push(...page.objects.map(({ txHash, ioIndex, ioType }) => [txHash, ioIndex, ioType === "input"]));
    lastCursor = page.lastCursor;
  }
}
const collector = new TransactionCollector(indexer, { lock, bufferSize: given.page }, given.url);
answer({
  lock,
  cells: places(await cellsOf(query("asc"))),
  backwards: places(await cellsOf(query("desc"))),
  transactions: await transactions("asc"),
  transactionsBackwards: await transactions("desc"),
  hashes: await collector.getTransactionHashes(),
  count: await indexer.collector(query("asc")).count(),
});
