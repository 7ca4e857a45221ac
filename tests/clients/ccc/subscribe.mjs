// The SDK by WebSocket; news of the same chain by WebSocket and by TCP.
import { createConnection } from "node:net";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { answer, given } from "../kit.mjs";
import { ccc, lockOf, wallet } from "./kit.mjs";

const TOPICS = ["new_tip_header", "new_tip_block", "new_transaction", "proposed_transaction"];

// Subscribe to all topics; the subscriptions' ids by topic, what they tell, and whom to wake then.
async function listen(write, read) {
  const ids = new Map();
  const heard = [];
  const names = new Map();
  let ready;
  const subscribed = new Promise((resolve) => (ready = resolve));
  read((text) => {
    const message = JSON.parse(text);
    if (message.method === "subscribe") {
      const { subscription, result } = message.params;
      heard.push([names.get(subscription), JSON.parse(result)]);
    } else {
      ids.set(TOPICS[message.id], message.result);
      names.set(message.result, TOPICS[message.id]);
      if (ids.size === TOPICS.length) ready();
    }
  });
  TOPICS.forEach((topic, id) => write(JSON.stringify({ id, jsonrpc: "2.0", method: "subscribe", params: [topic] })));
  await subscribed;
  return heard;
}

const socket = new WebSocket(given.ws);
await new Promise((resolve) => socket.on("open", resolve));
const byWebSocket = await listen((text) => socket.send(text), (use) => socket.on("message", (data) => use(data.toString())));
const stream = createConnection(given.tcp, "127.0.0.1");
const byTcp = await listen((text) => stream.write(`${text}\n`), (use) => createInterface(stream).on("line", use));

const client = new ccc.ClientPublicTestnet({ url: given.ws, fallbacks: [], scripts: given.scripts });
const owner = new ccc.SignerCkbPrivateKey(client, given.key);
const tx = ccc.Transaction.from({ outputs: [{ lock: await lockOf(wallet(given.other)), capacity: ccc.fixedPointFrom(100) }] });
await tx.completeInputsByCapacity(owner);
await tx.completeFeeBy(owner, 1000);
const hash = await owner.sendTransaction(tx);

const isIn = (block) => block.transactions.some((each) => each.hash === hash);
const arrived = (heard) => heard.some(([topic, told]) => topic === "new_tip_block" && isIn(told));
while (!(arrived(byWebSocket) && arrived(byTcp))) await new Promise((wake) => setTimeout(wake, 50));
const told = (heard) => ({
  headers: heard.filter(([topic]) => topic === "new_tip_header").map(([, header]) => [header.number, header.hash]),
  blocks: heard.filter(([topic]) => topic === "new_tip_block").map(([, block]) => [block.header.number, block.header.hash]),
  pool: heard
    .filter(([topic, entry]) => topic.endsWith("_transaction") && entry.transaction.hash === hash)
    .map(([topic, entry]) => [topic, entry.fee, entry.size]),
});
answer({ hash, fee: await tx.getFee(client), webSocket: told(byWebSocket), tcp: told(byTcp) });
