// NervosDAO: deposit, both withdrawals, 180 epochs between.
import { answer, given, passEpochs } from "../kit.mjs";
import { ccc, client, committed, lockOf, owner, rpc, send } from "./kit.mjs";

const lock = await lockOf(owner);
const dao = await ccc.Script.fromKnownScript(client, ccc.KnownScript.NervosDao, "0x");
const withDao = async (parts) => {
  const tx = ccc.Transaction.from(parts);
  await tx.addCellDepsOfKnownScripts(client, ccc.KnownScript.NervosDao);
  return tx;
};
const daoCell = async (phase) => {
  const filter = { script: dao, scriptLenRange: [33, 34], outputDataLenRange: [8, 9] };
  for await (const cell of owner.findCells(filter, true)) if (await cell.isNervosDao(client, phase)) return cell;
};

const amount = ccc.fixedPointFrom(given.amount);
const deposit = await send(
  await withDao({ outputs: [{ lock, type: dao, capacity: amount }], outputsData: ["00".repeat(8)] }),
);
await passEpochs(rpc, 2);

const deposited = await daoCell("deposited");
const { depositHeader } = await deposited.getNervosDaoInfo(client);
const withdrawal = await send(
  await withDao({
    headerDeps: [depositHeader.hash],
    inputs: [{ previousOutput: deposited.outPoint }],
    outputs: [deposited.cellOutput],
    outputsData: [ccc.numLeToBytes(depositHeader.number, 8)],
  }),
);

const withdrawn = await daoCell("withdrew");
const { withdrawHeader } = await withdrawn.getNervosDaoInfo(client);
const claim = ccc.calcDaoClaimEpoch(depositHeader, withdrawHeader);
const tx = await withDao({
  headerDeps: [withdrawHeader.hash, depositHeader.hash],
  inputs: [
    {
      previousOutput: withdrawn.outPoint,
      since: { relative: "absolute", metric: "epoch", value: ccc.epochToHex(claim) },
    },
  ],
  outputs: [{ lock }],
  witnesses: [ccc.WitnessArgs.from({ inputType: ccc.numLeToBytes(1, 8) }).toBytes()],
});
await tx.completeInputsByCapacity(owner);
await tx.completeFeeChangeToOutput(owner, 0, 1000);
const early = await owner.sendTransaction(tx).then(() => "taken", (error) => error.data);
await passEpochs(rpc, 180);
const unlocked = await committed(await owner.sendTransaction(tx));
answer({ deposit, withdrawal, early, unlocked, profit: await withdrawn.getDaoProfit(client), fee: await tx.getFee(client) });
