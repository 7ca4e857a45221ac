// What the SDK's RPC module makes of the node's answers, one by one and in a batch.
import { answer } from "../kit.mjs";
import { rpc } from "./kit.mjs";

const tip = await rpc.getTipHeader();
const genesis = await rpc.getBlockHash("0x0");
const block = await rpc.getBlock(genesis);
const [cellbase] = block.transactions;
const place = { txHash: cellbase.hash, index: "0x1" };
const calls = [
  ["getTipBlockNumber"],
  ["getBlock", genesis],
  ["getBlockByNumber", "0x0"],
  ["getHeader", genesis],
  ["getHeaderByNumber", "0x0"],
  ["getLiveCell", place, false],
  ["getTransaction", cellbase.hash],
  ["getCurrentEpoch"],
  ["getEpochByNumber", "0x0"],
  ["getConsensus"],
  ["getBlockEconomicState", genesis],
  ["getBlockMedianTime", genesis],
  ["getTransactionProof", [cellbase.hash]],
  ["getFeeRateStatistics"],
  ["getFeeRateStatics"],
  ["txPoolInfo"],
  ["getRawTxPool", true],
  ["getBlockchainInfo"],
  ["localNodeInfo"],
  ["getPeers"],
  ["getBannedAddresses"],
  ["syncState"],
  ["getIndexerTip"],
];
const single = {};
for (const [name, ...params] of calls) {
  single[name] = await rpc[name](...params).then((value) => value ?? null, (error) => ({ error: error.message }));
}
const batch = await rpc.createBatchRequest(calls.slice(1, 8)).exec();
const proof = await rpc.verifyTransactionProof(single.getTransactionProof);
answer({ tip, genesis, single, batch, proof });
