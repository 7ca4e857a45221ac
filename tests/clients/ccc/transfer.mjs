// 1,000 CKB to a new account, and all of it back.
import { answer, given } from "../kit.mjs";
import { ccc, committed, lockOf, owner, send, wallet } from "./kit.mjs";

const other = wallet(given.other);
const before = await owner.getBalance();
const tx = ccc.Transaction.from({ outputs: [{ lock: await lockOf(other), capacity: ccc.fixedPointFrom(1000) }] });
const hash = await send(tx);
const [paid, received] = [await owner.getBalance(), await other.getBalance()];

const back = ccc.Transaction.from({ outputs: [{ lock: await lockOf(owner) }] });
await back.completeInputsAll(other);
await back.completeFeeChangeToOutput(other, 0, 1000);
const returned = await committed(await other.sendTransaction(back));
answer({ before, hash, paid, received, returned, after: await owner.getBalance(), rest: await other.getBalance() });
