/* Reading the few molecule structures (RFC 8) that scripts meet, with every offset checked. */
#ifndef MOLECULE_H
#define MOLECULE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *data;
  uint64_t size;
} span;

/* script.args of a serialized Script; 0 when it is malformed */
int script_args(span *args, uint8_t *script, uint64_t size);

enum { WITNESS_LOCK = 0, WITNESS_INPUT_TYPE = 1 };

/* One field of a serialized WitnessArgs; 0 when that is malformed or the field is absent. */
int witness_field(span *field, uint8_t *witness, uint64_t size, int which);

#endif
