// Pages of cells and transactions of one lock, in both orders.
import { answer, given } from "../kit.mjs";
import { ccc, client, lockOf, send, wallet } from "./kit.mjs";

const lock = await lockOf(wallet(given.other));
for (const count of given.cells) {
  await send(ccc.Transaction.from({ outputs: Array.from({ length: count }, () => ({ lock })) }));
}
const key = { script: lock, scriptType: "lock", scriptSearchMode: "exact" };
const collect = async (pages) => {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
};
const cells = (order) => collect(client.findCellsOnChain({ ...key, withData: true }, order, given.page));
const transactions = (order) => collect(client.findTransactions({ ...key, groupByTransaction: false }, order, given.page));
const places = (found) => found.map(({ outPoint }) => [outPoint.txHash, outPoint.index]);
const uses = (found) => found.map(({ txHash, cellIndex, isInput }) => [txHash, cellIndex, isInput]);
const grouped = await collect(client.findTransactions({ ...key, groupByTransaction: true }, "asc", 2));
answer({
  lock,
  cells: places(await cells("asc")),
  backwards: places(await cells("desc")),
  transactions: uses(await transactions("asc")),
  transactionsBackwards: uses(await transactions("desc")),
  grouped: grouped.map(({ txHash, cells }) => [txHash, cells.length]),
  capacity: await client.getCellsCapacity(key),
});
