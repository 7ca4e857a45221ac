/* Recovery of the public key from an ECDSA signature (SEC 1, section 4.1.6). */
#ifndef RECOVER_H
#define RECOVER_H

#include "group.h"

#define COMPRESSED_KEY_SIZE 33

typedef enum {
  RECOVER_OK,
  /* r or s is not below the group order */
  RECOVER_BAD_SIGNATURE,
  /* r or s is zero, or no key belongs to this signature */
  RECOVER_NO_KEY,
} recover_result;

/*
 * signature: r and s, big-endian. recovery_id, 0..3: bit 0 is the parity of R's
 * y, bit 1 says that R's x is r + n. Both low and high s are good.
 */
recover_result recover(uint8_t key[COMPRESSED_KEY_SIZE], const uint8_t signature[64], unsigned recovery_id,
                       const uint8_t message[32], const generator_table *table);

#endif
