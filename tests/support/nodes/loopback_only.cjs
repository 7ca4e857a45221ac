// Loaded before a program by `node --require`. A connection to anything but loopback ends the program, so that no library
// can swallow the refusal and try elsewhere.
const net = require("node:net");

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);
const EXIT_CODE = 97;
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const [options] = Array.isArray(args[0]) ? args[0] : net._normalizeArgs(args);
  const goal = options.path ?? options.host ?? "localhost";
  if (!LOOPBACK.has(goal)) {
    require("node:fs").writeSync(2, `refused: a connection to ${goal}\n`);
    process.exit(EXIT_CODE);
  }
  return connect.apply(this, args);
};
