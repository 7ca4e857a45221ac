/*
 * The Nervos DAO type script (RFC 23). args: none, so that all DAO cells of a
 * transaction are one group and one run checks the whole transaction:
 *
 * - a new deposit holds eight zero bytes;
 * - a deposit that is spent becomes, at the same index, a withdrawing cell of the
 *   same capacity that holds the number of the deposit's block;
 * - a withdrawing cell is spent with a since value at a whole number of 180-epoch
 *   periods after its deposit, and counts for its capacity with compensation;
 * - the outputs have no more capacity than the inputs, so counted.
 */
#include "ckb.h"
#include "molecule.h"
#include "runtime.h"

enum {
  ERROR_ARGUMENTS = -2,
  ERROR_SYSCALL = -4,
  ERROR_ENCODING = -11,
  ERROR_WITNESS_TOO_LONG = -12,
  ERROR_OVERFLOW = -13,
  ERROR_WITHDRAW_BLOCK = -14,
  ERROR_CAPACITY = -15,
  ERROR_EPOCH = -16,
  ERROR_SINCE = -17,
  ERROR_TOO_MANY_OUTPUTS = -18,
  ERROR_NEW_DEPOSIT = -19,
  ERROR_WITHDRAWING_CELL = -20,
  ERROR_SCRIPT_TOO_LONG = -21,
};

#define MAX_ITEM_SIZE 32768
#define MAX_OUTPUTS 64
#define HASH_SIZE 32
#define LOCK_PERIOD 180
#define SINCE_ABSOLUTE_EPOCH 0x20

/* A header is a molecule struct: fixed places. */
#define HEADER_SIZE 208
#define HEADER_NUMBER 16
#define HEADER_EPOCH 24
#define HEADER_ACCUMULATE_RATE 168

typedef struct {
  uint64_t number, index, length;
} epoch;

typedef struct {
  uint64_t number;
  epoch epoch;
  uint64_t accumulate_rate;
} header;

/* What the pass over the cells has found so far. */
typedef struct {
  uint8_t script_hash[HASH_SIZE];
  uint64_t input_capacity, output_capacity;
  /* outputs that are the checked withdrawing cells of deposits */
  uint8_t is_request[MAX_OUTPUTS];
} totals;

/* *total += amount; an exit code */
static int add_capacity(uint64_t *total, uint64_t amount) {
  return __builtin_add_overflow(*total, amount, total) ? ERROR_OVERFLOW : 0;
}

/* An 8-byte field of a cell; a system call's result or an exit code. */
static int load_cell_number(uint64_t *value, uint64_t index, uint64_t source, int field) {
  uint64_t size = sizeof(*value);
  int result = ckb_load_cell_by_field(value, &size, index, source, field);
  if (result != CKB_SUCCESS) return result;
  return size == sizeof(*value) ? 0 : ERROR_SYSCALL;
}

/* Cell data that must be 8 bytes; a system call's result or an exit code. */
static int load_data_number(uint64_t *value, uint64_t index, uint64_t source) {
  uint64_t size = sizeof(*value);
  int result = ckb_load_cell_data(value, &size, index, source);
  if (result != CKB_SUCCESS) return result;
  return size == sizeof(*value) ? 0 : ERROR_SYSCALL;
}

static int is_dao_cell(const totals *sum, uint64_t index, uint64_t source) {
  uint8_t hash[HASH_SIZE];
  uint64_t size = HASH_SIZE;
  if (ckb_load_cell_by_field(hash, &size, index, source, CELL_TYPE_HASH) != CKB_SUCCESS) return 0;
  return size == HASH_SIZE && memcmp(hash, sum->script_hash, HASH_SIZE) == 0;
}

/* Number in the low 24 bits, then index and length, 16 bits each. An exit code. */
static int read_epoch(epoch *e, uint64_t packed) {
  e->number = packed & 0xffffff;
  e->index = packed >> 24 & 0xffff;
  e->length = packed >> 40 & 0xffff;
  return e->index < e->length ? 0 : ERROR_EPOCH;
}

/* The header at index: of a header dep, or of the block that holds an input's cell. */
static int load_header(header *h, uint64_t index, uint64_t source) {
  uint8_t bytes[HEADER_SIZE];
  uint64_t size = HEADER_SIZE, packed;
  int result = ckb_load_header(bytes, &size, index, source);
  if (result != CKB_SUCCESS) return result;
  if (size != HEADER_SIZE) return ERROR_ENCODING;
  memcpy(&h->number, bytes + HEADER_NUMBER, 8);
  memcpy(&h->accumulate_rate, bytes + HEADER_ACCUMULATE_RATE, 8);
  memcpy(&packed, bytes + HEADER_EPOCH, 8);
  return read_epoch(&h->epoch, packed);
}

/* The header dep that the witness of an input names as the deposit's block. */
static int load_deposit_header(header *h, uint64_t input) {
  uint8_t witness[MAX_ITEM_SIZE];
  uint64_t size = MAX_ITEM_SIZE;
  span field;
  if (ckb_load_witness(witness, &size, input, CKB_INPUT) != CKB_SUCCESS) return ERROR_SYSCALL;
  if (size > MAX_ITEM_SIZE) return ERROR_WITNESS_TOO_LONG;
  if (!witness_field(&field, witness, size, WITNESS_INPUT_TYPE)) return ERROR_ENCODING;
  if (field.size != sizeof(uint64_t)) return ERROR_ENCODING;
  /* the deployed script looks at the lowest byte only; the node's own DAO rules look at all */
  return load_header(h, field.data[0], CKB_HEADER_DEP);
}

/* -1, 0, 1 as a / b is less than, equal to, greater than c / d */
static int compare_fractions(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  uint64_t left = a * d, right = c * b;
  return left < right ? -1 : left > right;
}

/* Whole lock periods from deposit to withdraw request, rounded up, in epochs; 0 when not later. */
static uint64_t locked_epochs(const epoch *deposit, const epoch *withdraw) {
  int order = compare_fractions(withdraw->index, withdraw->length, deposit->index, deposit->length);
  if (withdraw->number < deposit->number) return 0;
  uint64_t epochs = withdraw->number - deposit->number + (order > 0);
  return (epochs + LOCK_PERIOD - 1) / LOCK_PERIOD * LOCK_PERIOD;
}

/* The input's since must be an absolute epoch not before the end of the deposit's lock. An exit code. */
static int check_since(uint64_t input, const epoch *deposit, uint64_t locked) {
  uint64_t since, size = sizeof(since);
  epoch e;
  int result = ckb_load_input_by_field(&since, &size, input, CKB_INPUT, INPUT_SINCE);
  if (result != CKB_SUCCESS) return result;
  if (size != sizeof(since)) return ERROR_SYSCALL;
  if (since >> 56 != SINCE_ABSOLUTE_EPOCH) return ERROR_SINCE;
  result = read_epoch(&e, since);
  if (e.length == 0) {
    /* RFC 17 takes a missing fraction for 0/1; like the header's, its index is of no use then */
    e.index = 0;
    e.length = 1;
  } else if (result != 0) {
    return result;
  }
  uint64_t end = deposit->number + locked;
  if (e.number != end) return e.number < end ? ERROR_SINCE : 0;
  return compare_fractions(e.index, e.length, deposit->index, deposit->length) < 0 ? ERROR_SINCE : 0;
}

/*
 * The low 64 bits of a * b / c, rounded down. No chain has a header whose rate c
 * is 0; the quotient is then that of the deployed script, whose library divides by
 * 1 / 0, which RISC-V defines as 2^64 - 1, after one subtraction of it.
 */
static uint64_t multiply_divide(uint64_t a, uint64_t b, uint64_t c) {
  unsigned __int128 product = (unsigned __int128)a * b;
  if (c == 0) {
    c = UINT64_MAX;
    product += (unsigned __int128)1 << 64;
  }
  unsigned __int128 rest = 0;
  uint64_t quotient = 0;
  for (int i = 127; i >= 0; i--) {
    rest = rest << 1 | (product >> i & 1);
    quotient <<= 1;
    if (rest >= c) {
      rest -= c;
      quotient |= 1;
    }
  }
  return quotient;
}

/* What a withdrawing cell may pay out: the part that grows, grown, and the part that stores data. */
static int compensated(uint64_t *value, uint64_t input, uint64_t capacity, const header *from, const header *to) {
  uint64_t occupied, growing;
  if (load_cell_number(&occupied, input, CKB_INPUT, CELL_OCCUPIED_CAPACITY) != 0) return ERROR_SYSCALL;
  if (__builtin_sub_overflow(capacity, occupied, &growing)) return ERROR_OVERFLOW;
  *value = multiply_divide(growing, to->accumulate_rate, from->accumulate_rate);
  return add_capacity(value, occupied);
}

/* Phase 2: count a withdrawing cell that was deposited in the given block. An exit code. */
static int check_withdrawal(totals *sum, uint64_t input, uint64_t capacity, uint64_t deposit_number) {
  header deposit, withdraw;
  uint64_t value;

  int result = load_deposit_header(&deposit, input);
  if (result != 0) return result;
  if (deposit.number != deposit_number) return ERROR_WITHDRAW_BLOCK;
  result = load_header(&withdraw, input, CKB_INPUT);
  if (result != 0) return result;
  uint64_t locked = locked_epochs(&deposit.epoch, &withdraw.epoch);
  if (locked == 0) return ERROR_WITHDRAW_BLOCK;
  result = check_since(input, &deposit.epoch, locked);
  if (result != 0) return result;
  result = compensated(&value, input, capacity, &deposit, &withdraw);
  if (result != 0) return result;
  return add_capacity(&sum->input_capacity, value);
}

/* Phase 1: the output at a deposit's index must be its withdrawing cell. An exit code. */
static int check_request(totals *sum, uint64_t index, uint64_t capacity) {
  uint8_t hash[HASH_SIZE];
  uint64_t size = HASH_SIZE, output_capacity, number;
  header deposit;

  int result = ckb_load_cell_by_field(hash, &size, index, CKB_OUTPUT, CELL_TYPE_HASH);
  if (result != CKB_SUCCESS) return result;
  if (size != HASH_SIZE) return ERROR_SYSCALL;
  if (memcmp(hash, sum->script_hash, HASH_SIZE) != 0) return ERROR_WITHDRAWING_CELL;
  result = load_cell_number(&output_capacity, index, CKB_OUTPUT, CELL_CAPACITY);
  if (result != 0) return result;
  if (output_capacity != capacity) return ERROR_WITHDRAWING_CELL;
  result = load_header(&deposit, index, CKB_INPUT);
  if (result != 0) return result;
  result = load_data_number(&number, index, CKB_OUTPUT);
  if (result != 0) return result;
  if (number != deposit.number) return ERROR_WITHDRAWING_CELL;
  return add_capacity(&sum->input_capacity, capacity);
}

static int check_input(totals *sum, uint64_t index, uint64_t capacity) {
  uint64_t deposit_number;
  if (!is_dao_cell(sum, index, CKB_INPUT)) return add_capacity(&sum->input_capacity, capacity);
  int result = load_data_number(&deposit_number, index, CKB_INPUT);
  if (result != 0) return result;
  if (deposit_number != 0) return check_withdrawal(sum, index, capacity, deposit_number);
  result = check_request(sum, index, capacity);
  if (result == 0 && index < MAX_OUTPUTS) sum->is_request[index] = 1;
  return result;
}

/* An output that is no request may be a new deposit. */
static int check_output(totals *sum, uint64_t index, uint64_t capacity) {
  uint64_t number;
  if (index >= MAX_OUTPUTS) return ERROR_TOO_MANY_OUTPUTS;
  int result = add_capacity(&sum->output_capacity, capacity);
  if (result != 0) return result;
  if (sum->is_request[index] || !is_dao_cell(sum, index, CKB_OUTPUT)) return 0;
  result = load_data_number(&number, index, CKB_OUTPUT);
  if (result != 0) return result;
  return number == 0 ? 0 : ERROR_NEW_DEPOSIT;
}

/* All cells of a source, each with its capacity. An exit code. */
static int check_each(totals *sum, uint64_t source, int (*check)(totals *, uint64_t, uint64_t)) {
  for (uint64_t index = 0;; index++) {
    uint64_t capacity;
    int result = load_cell_number(&capacity, index, source, CELL_CAPACITY);
    if (result == CKB_INDEX_OUT_OF_BOUND) return 0;
    if (result != 0) return ERROR_SYSCALL;
    result = check(sum, index, capacity);
    if (result != 0) return result;
  }
}

int main(void) {
  uint8_t script[MAX_ITEM_SIZE];
  uint64_t size = MAX_ITEM_SIZE;
  totals sum;
  span args;

  if (ckb_load_script(script, &size) != CKB_SUCCESS) return ERROR_SYSCALL;
  if (size > MAX_ITEM_SIZE) return ERROR_SCRIPT_TOO_LONG;
  if (!script_args(&args, script, size)) return ERROR_ENCODING;
  if (args.size != 0) return ERROR_ARGUMENTS;

  memset(&sum, 0, sizeof(sum));
  size = HASH_SIZE;
  int result = ckb_load_script_hash(sum.script_hash, &size);
  if (result != CKB_SUCCESS) return result;
  if (size != HASH_SIZE) return ERROR_SYSCALL;
  result = check_each(&sum, CKB_INPUT, check_input);
  if (result == 0) result = check_each(&sum, CKB_OUTPUT, check_output);
  if (result != 0) return result;
  return sum.output_capacity <= sum.input_capacity ? 0 : ERROR_CAPACITY;
}
