/*
 * Inverse modulo a 256-bit odd number by "divsteps": D. J. Bernstein, B.-Y. Yang,
 * "Fast constant-time gcd computation and modular inversion" (2019). Everything
 * here is public data, so this version runs only as long as the numbers need.
 */
#ifndef MODINV_H
#define MODINV_H

#include <stdint.h>

typedef struct {
  /* the modulus in five 62-bit words, little-endian */
  int64_t m[5];
  /* its inverse modulo 2^62 */
  uint64_t inverse;
} modinv_modulus;

/* r = 1/x mod m for 0 < x < m prime; four 64-bit words each */
void modinv(uint64_t r[4], const uint64_t x[4], const modinv_modulus *modulus);

#endif
