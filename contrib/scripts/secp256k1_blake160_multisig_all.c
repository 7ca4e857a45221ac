/*
 * The multi-signature lock: M of N keys, the first R of which must be among the
 * signers. args: the short hash of the configuration, optionally followed by a
 * since value (RFC 17) that every input of the group must respect. Without one it
 * is 0: a lock time of such an input can only be an absolute block number.
 *
 * witness lock field: configuration, then M signatures.
 * configuration: S (zero), R, M, N, each one byte; then N short key hashes.
 */
#include "ckb.h"
#include "runtime.h"
#include "signing.h"

enum {
  ERROR_RESERVED_FIELD = -41,
  ERROR_KEY_COUNT = -42,
  ERROR_THRESHOLD = -43,
  ERROR_REQUIRE_FIRST = -44,
  ERROR_CONFIGURATION_HASH = -51,
  ERROR_SIGNER = -52,
};

#define FLAGS_SIZE 4
#define SINCE_SIZE 8
#define MAX_KEYS 255
#define MAX_LOCK_SIZE (FLAGS_SIZE + MAX_KEYS * (SHORT_HASH_SIZE + SIGNATURE_SIZE))

typedef struct {
  unsigned require_first, threshold, keys;
  uint64_t size;
} configuration;

/* flags of a since value that is an absolute epoch with fraction */
#define SINCE_ABSOLUTE_EPOCH 0x20

/* a < b for epochs with fraction: number in the low 24 bits, then index and length, 16 bits each */
static int epoch_before(uint64_t a, uint64_t b) {
  uint64_t a_number = a & 0xffffff, b_number = b & 0xffffff;
  if (a_number != b_number) return a_number < b_number;
  uint64_t a_index = a >> 24 & 0xffff, b_index = b >> 24 & 0xffff;
  uint64_t a_length = a >> 40 & 0xffff, b_length = b >> 40 & 0xffff;
  return a_index * b_length < b_index * a_length;
}

/* Every input of the group must have the same since flags, and at least this value. An exit code. */
static int check_since(uint64_t required) {
  uint64_t flags = required >> 56, value = required & ((1ULL << 56) - 1);
  for (uint64_t index = 0;; index++) {
    uint64_t since, size = sizeof(since);
    int result = ckb_load_input_by_field(&since, &size, index, CKB_GROUP_INPUT, INPUT_SINCE);
    if (result == CKB_INDEX_OUT_OF_BOUND) return 0;
    if (result != CKB_SUCCESS || size != sizeof(since)) return ERROR_SYSCALL;
    if (since >> 56 != flags) return ERROR_SINCE_FLAGS;
    since &= (1ULL << 56) - 1;
    if (flags == SINCE_ABSOLUTE_EPOCH ? epoch_before(since, value) : since < value) return ERROR_SINCE_VALUE;
  }
}

/* Read and check the flags at the head of the lock field; an exit code. */
static int read_configuration(configuration *config, const span *lock) {
  if (lock->size < FLAGS_SIZE) return ERROR_WITNESS_SIZE;
  config->require_first = lock->data[1];
  config->threshold = lock->data[2];
  config->keys = lock->data[3];
  config->size = FLAGS_SIZE + SHORT_HASH_SIZE * (uint64_t)config->keys;
  if (lock->data[0] != 0) return ERROR_RESERVED_FIELD;
  if (config->keys == 0) return ERROR_KEY_COUNT;
  if (config->threshold == 0 || config->threshold > config->keys) return ERROR_THRESHOLD;
  if (config->require_first > config->threshold) return ERROR_REQUIRE_FIRST;
  return lock->size == config->size + SIGNATURE_SIZE * (uint64_t)config->threshold ? 0 : ERROR_WITNESS_SIZE;
}

/* Mark the first key that has this hash and is not marked yet; 0 when there is none. */
static int mark_signer(uint8_t *marks, const configuration *config, const uint8_t *key_hashes, const uint8_t *hash) {
  for (unsigned i = 0; i < config->keys; i++) {
    if (!marks[i] && memcmp(key_hashes + SHORT_HASH_SIZE * i, hash, SHORT_HASH_SIZE) == 0) {
      marks[i] = 1;
      return 1;
    }
  }
  return 0;
}

/* lock: a copy of the lock field with its signatures. An exit code. */
static int check_signatures(const uint8_t *lock, const configuration *config, const uint8_t message[HASH_SIZE]) {
  uint8_t marks[MAX_KEYS], hash[HASH_SIZE];
  generator_table table;

  int result = load_generator_table(&table);
  if (result != 0) return result;
  memset(marks, 0, sizeof(marks));
  for (unsigned i = 0; i < config->threshold; i++) {
    result = signer_hash(hash, lock + config->size + SIGNATURE_SIZE * i, message, &table);
    if (result != 0) return result;
    if (!mark_signer(marks, config, lock + FLAGS_SIZE, hash)) return ERROR_SIGNER;
  }
  for (unsigned i = 0; i < config->require_first; i++) {
    if (!marks[i]) return ERROR_SIGNER;
  }
  return 0;
}

int main(void) {
  uint8_t script[MAX_ITEM_SIZE], witness[MAX_ITEM_SIZE], lock_copy[MAX_LOCK_SIZE];
  uint8_t hash[HASH_SIZE], message[HASH_SIZE];
  configuration config;
  uint64_t witness_size, since = 0;
  span args, lock;
  blake2b state;
  int result;

  result = load_args(&args, script);
  if (result != 0) return result;
  if (args.size != SHORT_HASH_SIZE && args.size != SHORT_HASH_SIZE + SINCE_SIZE) return ERROR_ARGUMENTS_LENGTH;
  if (args.size == SHORT_HASH_SIZE + SINCE_SIZE) memcpy(&since, args.data + SHORT_HASH_SIZE, SINCE_SIZE);

  result = load_first_witness(witness, &witness_size, &lock);
  if (result != 0) return result;
  result = read_configuration(&config, &lock);
  if (result != 0) return result;
  memcpy(lock_copy, lock.data, lock.size);

  blake2b_init(&state);
  blake2b_update(&state, lock_copy, config.size);
  blake2b_final(&state, hash);
  if (memcmp(hash, args.data, SHORT_HASH_SIZE) != 0) return ERROR_CONFIGURATION_HASH;
  result = check_since(since);
  if (result != 0) return result;

  memset(lock.data + config.size, 0, lock.size - config.size);
  result = signed_message(message, witness, witness_size);
  if (result != 0) return result;
  return check_signatures(lock_copy, &config, message);
}
