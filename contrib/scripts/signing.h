/* What the two secp256k1 locks share: limits, exit codes, the signed message, key hashes. */
#ifndef SIGNING_H
#define SIGNING_H

#include "blake2b.h"
#include "molecule.h"
#include "recover.h"

/* Neither a script nor a witness that is read may be larger. */
#define MAX_ITEM_SIZE 32768

/* r, s, recovery id */
#define SIGNATURE_SIZE 65

enum {
  ERROR_ARGUMENTS_LENGTH = -1,
  ERROR_ENCODING = -2,
  ERROR_SYSCALL = -3,
  ERROR_NO_KEY = -11,
  ERROR_BAD_SIGNATURE = -14,
  ERROR_SCRIPT_TOO_LONG = -21,
  ERROR_WITNESS_SIZE = -22,
  ERROR_SINCE_FLAGS = -23,
  ERROR_SINCE_VALUE = -24,
  ERROR_KEY_HASH = -31,
  ERROR_DATA_CELL = -101,
  ERROR_RECOVERY_ID = -102,
};

/* The running script's args, inside buffer; an exit code. */
int load_args(span *args, uint8_t buffer[MAX_ITEM_SIZE]);

/* The first witness of the group, and its lock field inside it; an exit code. */
int load_first_witness(uint8_t witness[MAX_ITEM_SIZE], uint64_t *size, span *lock);

/*
 * The hash to be signed, of: the transaction hash; the group's first witness, in
 * which the caller has zeroed the signatures; the group's other witnesses; the
 * witnesses beyond the last input. Each witness comes after its size as 8 bytes.
 * An exit code.
 */
int signed_message(uint8_t message[HASH_SIZE], const uint8_t *first_witness, uint64_t first_size);

/* Find the data cell among the cell deps by its hash and load it; an exit code. */
int load_generator_table(generator_table *table);

/* The hash of the key that made this signature; an exit code. */
int signer_hash(uint8_t hash[HASH_SIZE], const uint8_t signature[SIGNATURE_SIZE], const uint8_t message[HASH_SIZE],
                const generator_table *table);

#endif
