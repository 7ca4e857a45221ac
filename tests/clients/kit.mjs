// What a program is given by its test, and how it answers.
export const given = JSON.parse(process.argv[2]);
export const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

// So many epochs, in steps that are answered soon: SDKs wait for 30 seconds.
export async function passEpochs(call, count) {
  for (let passed = 0; passed < count; passed += 10) await call("generate_epochs", `0x${Math.min(10, count - passed).toString(16)}`);
}

export function answer(result) {
  const plain = (_, value) => (typeof value === "bigint" ? `0x${value.toString(16)}` : value);
  process.stdout.write(JSON.stringify(result, plain), () => process.exit(0));
}
