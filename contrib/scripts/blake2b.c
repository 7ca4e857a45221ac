#include "blake2b.h"

#include "runtime.h"

#define BLOCK_SIZE 128

static const uint64_t IV[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

/* The message schedule: rounds 10 and 11 repeat 0 and 1. Entries are byte offsets into the block. */
#define ROW(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
  {8 * a, 8 * b, 8 * c, 8 * d, 8 * e, 8 * f, 8 * g, 8 * h, 8 * i, 8 * j, 8 * k, 8 * l, 8 * m, 8 * n, 8 * o, 8 * p}
static const uint8_t SCHEDULE[12][16] = {
    ROW(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    ROW(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    ROW(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    ROW(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    ROW(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    ROW(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    ROW(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    ROW(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    ROW(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    ROW(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    ROW(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    ROW(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
};

static inline uint64_t rotate_right(uint64_t x, int by) { return x >> by | x << (64 - by); }

#define WORD(i) (*(const uint64_t *)(block + row[i]))

#define MIX(a, b, c, d, i)           \
  do {                               \
    a += b + WORD(i);                \
    d = rotate_right(d ^ a, 32);     \
    c += d;                          \
    b = rotate_right(b ^ c, 24);     \
    a += b + WORD(i + 1);            \
    d = rotate_right(d ^ a, 16);     \
    c += d;                          \
    b = rotate_right(b ^ c, 63);     \
  } while (0)

static void compress(blake2b *state, uint64_t last) {
  const uint8_t *block = (const uint8_t *)state->buffer;
  uint64_t *h = state->h;
  uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
  uint64_t v8 = IV[0], v9 = IV[1], v10 = IV[2], v11 = IV[3];
  uint64_t v12 = IV[4] ^ state->count, v13 = IV[5], v14 = IV[6] ^ last, v15 = IV[7];

  for (const uint8_t *row = SCHEDULE[0]; row != SCHEDULE[12]; row += 16) {
    MIX(v0, v4, v8, v12, 0);
    MIX(v1, v5, v9, v13, 2);
    MIX(v2, v6, v10, v14, 4);
    MIX(v3, v7, v11, v15, 6);
    MIX(v0, v5, v10, v15, 8);
    MIX(v1, v6, v11, v12, 10);
    MIX(v2, v7, v8, v13, 12);
    MIX(v3, v4, v9, v14, 14);
  }
  h[0] ^= v0 ^ v8;
  h[1] ^= v1 ^ v9;
  h[2] ^= v2 ^ v10;
  h[3] ^= v3 ^ v11;
  h[4] ^= v4 ^ v12;
  h[5] ^= v5 ^ v13;
  h[6] ^= v6 ^ v14;
  h[7] ^= v7 ^ v15;
}

void blake2b_init(blake2b *state) {
  for (int i = 0; i < 8; i++) state->h[i] = IV[i];
  /* parameter block: 32 bytes out, fanout 1, depth 1; the personal string is its last quarter */
  state->h[0] ^= 0x01010000 | HASH_SIZE;
  state->h[6] ^= 0x616665642d626b63ULL;
  state->h[7] ^= 0x687361682d746c75ULL;
  state->count = 0;
  state->waiting = 0;
}

void blake2b_update(blake2b *state, const void *data, size_t size) {
  const uint8_t *bytes = data;
  while (size > 0) {
    /* a full buffer is compressed only when more follows: the last block is marked */
    if (state->waiting == BLOCK_SIZE) {
      state->count += BLOCK_SIZE;
      compress(state, 0);
      state->waiting = 0;
    }
    size_t part = BLOCK_SIZE - state->waiting;
    if (part > size) part = size;
    memcpy((uint8_t *)state->buffer + state->waiting, bytes, part);
    state->waiting += part;
    bytes += part;
    size -= part;
  }
}

void blake2b_final(blake2b *state, uint8_t hash[HASH_SIZE]) {
  memset((uint8_t *)state->buffer + state->waiting, 0, BLOCK_SIZE - state->waiting);
  state->count += state->waiting;
  compress(state, ~0ULL);
  memcpy(hash, state->h, HASH_SIZE);
}
