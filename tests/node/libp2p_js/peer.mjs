// A peer of the node by js-libp2p, which knows nothing of it but docs/LIBP2P.md: it dials, reads headers and a block from the
// sync stream, joins both topics, hears a block that is mined meanwhile, and publishes a transaction.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((yes, no) => { resolve = yes; reject = no; });
  return { promise, resolve, reject };
};

const { createLibp2p } = await import("libp2p");
const { tcp } = await import("@libp2p/tcp");
const { noise } = await import("@chainsafe/libp2p-noise");
const { yamux } = await import("@chainsafe/libp2p-yamux");
const { identify } = await import("@libp2p/identify");
const { ping } = await import("@libp2p/ping");
const { gossipsub } = await import("@libp2p/gossipsub");
const { blake2b } = await import("@noble/hashes/blake2.js");
const { multiaddr } = await import("@multiformats/multiaddr");

const given = JSON.parse(process.argv[2]);
const HEADER = 208, PERIOD = 200, PATIENCE = 60_000;
const SYNC = `${given.network}/sync/1`, BLOCKS = `${given.network}/blocks/1`, TRANSACTIONS = `${given.network}/transactions/1`;

const hash = (bytes) =>
  Buffer.from(blake2b(bytes, { dkLen: 32, personalization: Buffer.from("ckb-default-hash") })).toString("hex");
const u32 = (number) => { const made = Buffer.alloc(4); made.writeUInt32LE(number); return made; };
const hashes = (all) => Buffer.concat([u32(all.length), ...all.map((each) => Buffer.from(each, "hex"))]);
const table = (...fields) => {
  let at = 4 + 4 * fields.length;
  const offsets = fields.map((each) => { const here = at; at += each.length; return u32(here); });
  return Buffer.concat([u32(at), ...offsets, ...fields]);
};
const union = (id, body) => Buffer.concat([u32(id), body]);
const getHeaders = (known) => union(0, table(Buffer.alloc(32), hashes([known])));
const getBlocks = (wanted) => union(2, table(hashes(wanted)));
const firstField = (message) => message.subarray(message.readUInt32LE(4));
// What stands first in a block and in a compact block is the header.
const blockHash = (block) => hash(firstField(block).subarray(0, HEADER));

const framed = (body) => { const size = Buffer.alloc(4); size.writeUInt32BE(body.length); return Buffer.concat([size, body]); };
async function* messages(stream) {
  let unread = Buffer.alloc(0);
  for await (const piece of stream) {
    unread = Buffer.concat([unread, piece.subarray()]);
    while (unread.length >= 4 && unread.length >= 4 + unread.readUInt32BE(0)) {
      const end = 4 + unread.readUInt32BE(0);
      yield unread.subarray(4, end);
      unread = unread.subarray(end);
    }
  }
  throw new Error("the stream has ended");
}
async function answer(all, id) {
  for (;;) {
    const { value } = await all.next();
    if (value.readUInt32LE(0) === id) return value.subarray(4);
  }
}

const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionGater: { denyDialMultiaddr: () => false },
  services: { identify: identify(), ping: ping(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }) },
});
setTimeout(() => { console.error("too slow"); process.exit(1); }, PATIENCE).unref();

const connection = await node.dial(multiaddr(given.address));
await node.services.ping.ping(connection.remotePeer);
const stream = await connection.newStream(SYNC);
const came = messages(stream);

stream.send(framed(getHeaders(given.genesis)));
const list = firstField(await answer(came, 1));
const headers = [];
for (let at = 4; headers.length < list.readUInt32LE(0); at += HEADER) headers.push(list.subarray(at, at + HEADER));
let parent = given.genesis;
for (const header of headers) {
  // version, target, time, number, epoch: 32 bytes before the parent's hash
  if (header.subarray(32, 64).toString("hex") !== parent) throw new Error("headers that do not follow each other");
  parent = hash(header);
}
stream.send(framed(getBlocks([parent])));
const block = firstField(await answer(came, 3));

const heard = new Promise((resolve) => {
  node.services.pubsub.addEventListener("message", ({ detail }) => {
    if (detail.topic !== BLOCKS) return;
    const message = Buffer.from(detail.data);
    resolve({ hash: blockHash(message.subarray(4)), number: Number(firstField(message.subarray(4)).readBigUInt64LE(16)) });
  });
});
node.services.pubsub.subscribe(BLOCKS);
node.services.pubsub.subscribe(TRANSACTIONS);
while (node.services.pubsub.getSubscribers(TRANSACTIONS).length === 0) await new Promise((go) => setTimeout(go, PERIOD));
const gossiped = await heard;
await node.services.pubsub.publish(TRANSACTIONS, Buffer.from(given.transaction, "hex"));
await new Promise((go) => setTimeout(go, 5 * PERIOD));
console.log(JSON.stringify({ headers: headers.length, tip: parent, block: blockHash(block), gossiped }));
process.exit(0);
