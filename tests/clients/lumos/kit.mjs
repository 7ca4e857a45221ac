import { Indexer } from "@ckb-lumos/ckb-indexer";
import { common } from "@ckb-lumos/common-scripts";
import { getConfig, initializeConfig } from "@ckb-lumos/config-manager";
import { key as hdKey } from "@ckb-lumos/hd";
import { TransactionSkeleton, encodeToAddress, sealTransaction } from "@ckb-lumos/helpers";
import { RPC } from "@ckb-lumos/rpc";
import { given, sleep } from "../kit.mjs";

initializeConfig(given.scripts);
export const rpc = new RPC(given.url);
export const indexer = new Indexer(given.url);
export const SHANNONS = 100_000_000n;
export const CKB = (amount) => BigInt(amount) * SHANNONS;
export const skeleton = () => TransactionSkeleton({ cellProvider: indexer });

export async function call(method, ...params) {
  const body = JSON.stringify({ id: 1, jsonrpc: "2.0", method, params });
  const answer = await fetch(given.url, { method: "POST", body, headers: { "content-type": "application/json" } });
  return (await answer.json()).result;
}

export function account(key) {
  const { CODE_HASH: codeHash, HASH_TYPE: hashType } = getConfig().SCRIPTS.SECP256K1_BLAKE160;
  const lock = { codeHash, hashType, args: hdKey.privateKeyToBlake160(key) };
  return { key, lock, address: encodeToAddress(lock) };
}
export const owner = account(given.key);

export async function cellsOf(query) {
  const cells = [];
  for await (const cell of indexer.collector(query).collect()) cells.push(cell);
  return cells;
}

export async function balanceOf(lock) {
  const cells = await cellsOf({ lock, type: "empty", data: "0x" });
  return cells.reduce((sum, cell) => sum + BigInt(cell.cellOutput.capacity), 0n);
}

// Wait until a transaction is in a block, and the indexer has that block.
export async function committed(hash) {
  let found;
  while ((found = await rpc.getTransaction(hash)).txStatus.status !== "committed") await sleep(100);
  const { number } = await rpc.getHeader(found.txStatus.blockHash);
  while (BigInt((await indexer.tip()).blockNumber) < BigInt(number)) await sleep(50);
  return hash;
}

// Sign what `prepareSigningEntries` asks for, all with one key, or as `seal` makes of a message.
export function signed(tx, key, seal = (message) => hdKey.signRecoverable(message, key)) {
  const prepared = common.prepareSigningEntries(tx);
  return sealTransaction(prepared, prepared.get("signingEntries").map((entry) => seal(entry.message)).toArray());
}

export const sent = async (transaction) => committed(await rpc.sendTransaction(transaction, "passthrough"));

export async function send(tx, from = owner) {
  return sent(signed(await common.payFeeByFeeRate(tx, [from.address], 1000), from.key));
}
