#include "signing.h"

#include "ckb.h"
#include "runtime.h"

int load_args(span *args, uint8_t buffer[MAX_ITEM_SIZE]) {
  uint64_t size = MAX_ITEM_SIZE;
  if (ckb_load_script(buffer, &size) != CKB_SUCCESS) return ERROR_SYSCALL;
  if (size > MAX_ITEM_SIZE) return ERROR_SCRIPT_TOO_LONG;
  return script_args(args, buffer, size) ? 0 : ERROR_ENCODING;
}

int load_first_witness(uint8_t witness[MAX_ITEM_SIZE], uint64_t *size, span *lock) {
  *size = MAX_ITEM_SIZE;
  if (ckb_load_witness(witness, size, 0, CKB_GROUP_INPUT) != CKB_SUCCESS) return ERROR_SYSCALL;
  if (*size > MAX_ITEM_SIZE) return ERROR_WITNESS_SIZE;
  return witness_field(lock, witness, *size, WITNESS_LOCK) ? 0 : ERROR_ENCODING;
}

static void hash_witness(blake2b *state, const uint8_t *witness, uint64_t size) {
  blake2b_update(state, &size, sizeof(size));
  blake2b_update(state, witness, size);
}

/* Hash the witnesses of a source from the given index on, to the last; an exit code. */
static int hash_witnesses(blake2b *state, uint64_t index, uint64_t source) {
  uint8_t witness[MAX_ITEM_SIZE];
  for (;; index++) {
    uint64_t size = MAX_ITEM_SIZE;
    int result = ckb_load_witness(witness, &size, index, source);
    if (result == CKB_INDEX_OUT_OF_BOUND) return 0;
    if (result != CKB_SUCCESS) return ERROR_SYSCALL;
    if (size > MAX_ITEM_SIZE) return ERROR_WITNESS_SIZE;
    hash_witness(state, witness, size);
  }
}

static int input_exists(uint64_t index) {
  uint64_t size = 0;
  return ckb_load_input_by_field(0, &size, index, CKB_INPUT, INPUT_SINCE) == CKB_SUCCESS;
}

/* How many inputs the transaction has, which is at least one. */
static uint64_t count_inputs(void) {
  uint64_t known = 1, beyond = 2;
  while (input_exists(beyond - 1)) {
    known = beyond;
    beyond *= 2;
  }
  while (beyond - known > 1) {
    uint64_t middle = (known + beyond) / 2;
    if (input_exists(middle - 1)) {
      known = middle;
    } else {
      beyond = middle;
    }
  }
  return known;
}

int signed_message(uint8_t message[HASH_SIZE], const uint8_t *first_witness, uint64_t first_size) {
  uint8_t tx_hash[HASH_SIZE];
  uint64_t size = HASH_SIZE;
  blake2b state;

  int result = ckb_load_tx_hash(tx_hash, &size);
  if (result != CKB_SUCCESS) return result;
  if (size != HASH_SIZE) return ERROR_SYSCALL;

  blake2b_init(&state);
  blake2b_update(&state, tx_hash, HASH_SIZE);
  hash_witness(&state, first_witness, first_size);
  result = hash_witnesses(&state, 1, CKB_GROUP_INPUT);
  if (result != 0) return result;
  result = hash_witnesses(&state, count_inputs(), CKB_INPUT);
  if (result != 0) return result;
  blake2b_final(&state, message);
  return 0;
}

/* Load the multiples of one base from the data cell, which are at this offset; an exit code. */
static int load_multiples(affine multiples[G_TABLE_SIZE], uint64_t index, uint64_t offset) {
  uint64_t size = G_TABLE_SIZE * sizeof(affine);
  int result = ckb_load_cell_data_from(multiples, &size, offset, index, CKB_CELL_DEP);
  return result == CKB_SUCCESS && size == SECP256K1_DATA_SIZE - offset ? 0 : ERROR_DATA_CELL;
}

int load_generator_table(generator_table *table) {
  static const uint8_t EXPECTED[HASH_SIZE] = {SECP256K1_DATA_HASH};
  uint8_t hash[HASH_SIZE];

  for (uint64_t index = 0;; index++) {
    uint64_t size = HASH_SIZE;
    int result = ckb_load_cell_by_field(hash, &size, index, CKB_CELL_DEP, CELL_DATA_HASH);
    if (result == CKB_ITEM_MISSING) continue;
    if (result != CKB_SUCCESS) return ERROR_DATA_CELL;
    if (memcmp(hash, EXPECTED, HASH_SIZE) != 0) continue;
    result = load_multiples(table->low, index, 0);
    return result != 0 ? result : load_multiples(table->high, index, SECP256K1_DATA_SIZE / 2);
  }
}

int signer_hash(uint8_t hash[HASH_SIZE], const uint8_t signature[SIGNATURE_SIZE], const uint8_t message[HASH_SIZE],
                const generator_table *table) {
  uint8_t key[COMPRESSED_KEY_SIZE];
  unsigned recovery_id = signature[SIGNATURE_SIZE - 1];
  blake2b state;

  if (recovery_id > 3) return ERROR_RECOVERY_ID;
  switch (recover(key, signature, recovery_id, message, table)) {
    case RECOVER_BAD_SIGNATURE:
      return ERROR_BAD_SIGNATURE;
    case RECOVER_NO_KEY:
      return ERROR_NO_KEY;
    case RECOVER_OK:
      break;
  }
  blake2b_init(&state);
  blake2b_update(&state, key, COMPRESSED_KEY_SIZE);
  blake2b_final(&state, hash);
  return 0;
}
