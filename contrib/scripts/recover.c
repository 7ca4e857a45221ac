#include "recover.h"

/* x = r, or r + n when that is still below p; 0 when it is not */
static int x_of_r(fe *x, const scalar *r, int plus_order) {
  static const uint64_t ORDER[4] = {ORDER_WORDS};
  uint64_t carry = 0;
  for (int i = 0; i < 4; i++) x->n[i] = r->n[i];
  if (!plus_order) return 1;
  for (int i = 0; i < 4; i++) carry = add_carry(&x->n[i], ORDER[i], carry);
  if (carry) return 0;
  fe reduced = *x;
  fe_normalize(&reduced);
  return reduced.n[0] == x->n[0];
}

recover_result recover(uint8_t key[COMPRESSED_KEY_SIZE], const uint8_t signature[64], unsigned recovery_id,
                       const uint8_t message[32], const generator_table *table) {
  scalar r, s, m, inverse;
  affine point;
  fe x;

  if (scalar_from_bytes(&r, signature) || scalar_from_bytes(&s, signature + 32)) return RECOVER_BAD_SIGNATURE;
  if (scalar_is_zero(&r) || scalar_is_zero(&s)) return RECOVER_NO_KEY;
  if (!x_of_r(&x, &r, recovery_id >> 1 & 1)) return RECOVER_NO_KEY;
  if (!affine_from_x(&point, &x, recovery_id & 1)) return RECOVER_NO_KEY;

  /* Q = (s R - m G) / r */
  scalar_from_bytes(&m, message);
  scalar_inv(&inverse, &r);
  scalar_mul(&s, &s, &inverse);
  scalar_mul(&m, &m, &inverse);
  scalar_negate(&m, &m);
  if (!multiply_add(&point, &s, &point, &m, table)) return RECOVER_NO_KEY;

  key[0] = (uint8_t)(2 + (point.y.n[0] & 1));
  fe_to_bytes(key + 1, &point.x);
  return RECOVER_OK;
}
