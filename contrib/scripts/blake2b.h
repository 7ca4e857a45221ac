/* BLAKE2b (RFC 7693) as CKB uses it: 32 bytes out, no key, personal "ckb-default-hash". */
#ifndef BLAKE2B_H
#define BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SIZE 32
/* the first bytes of a hash, where CKB uses it as an address */
#define SHORT_HASH_SIZE 20

typedef struct {
  uint64_t h[8];
  uint64_t buffer[16];
  /* bytes compressed so far, and bytes waiting in buffer */
  uint64_t count;
  size_t waiting;
} blake2b;

void blake2b_init(blake2b *state);
void blake2b_update(blake2b *state, const void *data, size_t size);
void blake2b_final(blake2b *state, uint8_t hash[HASH_SIZE]);

#endif
