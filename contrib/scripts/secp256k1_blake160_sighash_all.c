/*
 * The default lock: one key. args: the short hash of the compressed public key;
 * witness lock field: one recoverable signature over the whole transaction.
 */
#include "runtime.h"
#include "signing.h"

int main(void) {
  uint8_t script[MAX_ITEM_SIZE], witness[MAX_ITEM_SIZE];
  uint8_t signature[SIGNATURE_SIZE], message[HASH_SIZE], hash[HASH_SIZE];
  generator_table table;
  uint64_t witness_size;
  span args, lock;
  int result;

  result = load_args(&args, script);
  if (result != 0) return result;
  if (args.size != SHORT_HASH_SIZE) return ERROR_ARGUMENTS_LENGTH;

  result = load_first_witness(witness, &witness_size, &lock);
  if (result != 0) return result;
  if (lock.size != SIGNATURE_SIZE) return ERROR_ARGUMENTS_LENGTH;
  memcpy(signature, lock.data, SIGNATURE_SIZE);
  memset(lock.data, 0, SIGNATURE_SIZE);

  result = signed_message(message, witness, witness_size);
  if (result != 0) return result;
  result = load_generator_table(&table);
  if (result != 0) return result;
  result = signer_hash(hash, signature, message, &table);
  if (result != 0) return result;
  return memcmp(hash, args.data, SHORT_HASH_SIZE) == 0 ? 0 : ERROR_KEY_HASH;
}
