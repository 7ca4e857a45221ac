import { ccc } from "@ckb-ccc/core";
import { given, sleep } from "../kit.mjs";

export { ccc };
// Without `fallbacks: []` it would turn to public nodes.
export const client = new ccc.ClientPublicTestnet({ url: given.url, fallbacks: [], scripts: given.scripts });
export const rpc = (method, ...params) => client.requestor.request(method, params);
export const wallet = (key) => new ccc.SignerCkbPrivateKey(client, key);
export const lockOf = async (signer) => (await signer.getRecommendedAddressObj()).script;
export const owner = wallet(given.key);

// Wait until a transaction is in a block, and the indexer has that block.
export async function committed(hash) {
  const { blockNumber } = await client.waitTransaction(hash, 0, 60_000, 100);
  while (BigInt((await rpc("get_indexer_tip")).block_number) < blockNumber) await sleep(50);
  return hash;
}

export async function send(tx, signer = owner) {
  await tx.completeInputsByCapacity(signer);
  await tx.completeFeeBy(signer, 1000);
  return committed(await signer.sendTransaction(tx));
}
