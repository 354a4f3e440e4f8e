/* CompresSAE in C99: see compressae.h, and ../../spec/, whose equations (E) and rules (R) are cited here.
 *
 * Build with: cc -std=c99 -O2 -ftree-vectorize -ffp-contract=off -c compressae.c
 *
 * Encoding needs no filter of candidates. A product of a row with W_enc in the order of E1 takes as many operations as
 * in any other order. Its loops run over neighbouring latents, so that compilers vectorise them without changing a sum.
 *
 * The file includes itself twice, for float and for double. That part is at the end, under #else.
 */
#ifndef REAL

#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#ifndef CSAE_NO_MMAP
#define CSAE_MMAP
#endif
#endif

#include "compressae.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef CSAE_MMAP
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#ifdef __FAST_MATH__
#error "build without -ffast-math: it changes the order of sums"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float and double must be computed in their own precision: on 32-bit x86 use -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#ifndef CSAE_MALLOC /* a program may allocate in its own way */
#define CSAE_MALLOC malloc
#define CSAE_FREE free
#endif

enum {
    QUERIES_PER_PASS = 4,    /* queries that share the unpacking of items */
    LATENTS_PER_PIECE = 256, /* whose sums are computed together; the partial sums fit the L1 cache */
    ALIGNMENT = 64,          /* of arrays in a workspace: a cache line */
    DEEPEST_JSON = 64
};

typedef struct {
    const uint8_t *at;
    size_t size;
} Bytes;
typedef struct {
    Bytes bytes;
    void *memory;
    int mapped;
} File;

typedef enum { ABSENT, STORED_F64, STORED_F32, STORED_F16, STORED_I8 } Stored;
static size_t bytes_of(Stored kind) {
    static const uint8_t bytes[] = {[STORED_F64] = 8, [STORED_F32] = 4, [STORED_F16] = 2, [STORED_I8] = 1};
    return bytes[kind];
}

typedef struct {
    const uint8_t *packed;
    size_t k;
    unsigned bits;
} Packed; /* one row */

typedef struct { /* a matrix where it lies in the file, at any alignment */
    Stored kind;
    const uint8_t *at;
    const float *scales;  /* one for each latent, if int8 */
    int latents_are_rows; /* true for W_dec */
    size_t rows, columns;
} Weights;

struct csae_model {
    csae_dtype dtype;
    size_t d, h, k, version;
    Weights W_enc, W_dec;
    const void *b_enc, *mean; /* in dtype; mean may be NULL */
    void *memory;             /* of b_enc, mean and scales */
    char digest[65];
    File file;
};

struct csae_codes {
    csae_dtype dtype;
    size_t n, k, h;
    unsigned bits;
    size_t width; /* bytes of a packed row */
    const uint8_t *packed;
    const uint8_t *indices, *values; /* if not packed; at any alignment */
    char *model;
    File file;
};

struct csae_index {
    const csae_model *model;
    const csae_codes *codes;
    csae_space space;
    csae_dtype dtype;
    void *norms;
};

/* -- errors -- */

const char *csae_status_name(csae_status status) {
    static const char *const names[] = {"OK",      "DomainError", "ShapeError", "FormatError",
                                        "IOError", "MemoryError", "BuildError",  "ArgumentError"};
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

static csae_status fail(csae_error *error, csae_status status, int64_t row, const char *text, ...) {
    if (error == NULL) return status;
    va_list arguments;
    va_start(arguments, text);
    vsnprintf(error->text, sizeof error->text, text, arguments);
    va_end(arguments);
    error->status = status;
    error->row = row;
    return status;
}

static csae_status bad_format(csae_error *error, const char *text) {
    return fail(error, CSAE_FORMAT_ERROR, -1, "%s", text);
}

static csae_status done(csae_error *error) {
    if (error != NULL) *error = (csae_error){CSAE_OK, -1, ""};
    return CSAE_OK;
}

static csae_status out_of_memory(csae_error *error, size_t bytes) {
    return fail(error, CSAE_MEMORY_ERROR, -1, "expected %llu bytes of memory, got none", (unsigned long long)bytes);
}

static csae_status with_path(csae_error *error, const char *path, csae_status status) {
    if (error == NULL || status == CSAE_OK) return status;
    char text[sizeof error->text];
    memcpy(text, error->text, sizeof text);
    snprintf(error->text, sizeof error->text, "%.160s: %.157s", path, text);
    return status;
}

/* `names` holds one name for each pointer, separated by spaces. The first is a handle, or needed in any case. The
 * others are arrays, which may be NULL if they have no rows. */
static csae_status check_pointers(csae_error *error, size_t rows, const char *names, const void *const *pointers) {
    for (; *names != '\0'; pointers++) {
        int length = (int)strcspn(names, " ");
        if (*pointers == NULL)
            return fail(error, CSAE_ARGUMENT_ERROR, -1, "expected a pointer as %.*s, got NULL", length, names);
        if (rows == 0) break;
        names += length + (names[length] == ' ');
    }
    return CSAE_OK;
}

#define NEED(rows, names, ...) check_pointers(error, rows, names, (const void *const[]){__VA_ARGS__})

static csae_status check_flags(unsigned flags, unsigned allowed, const char *names, csae_error *error) {
    if ((flags & ~allowed) == 0) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1, "expected flags %s, got %u", names, flags);
}

/* -- bytes -- */

static uint64_t number(const uint8_t *at, size_t size) { /* little-endian (R11) */
    uint64_t bits = 0;
    while (size-- > 0) bits = bits << 8 | at[size];
    return bits;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static float load_f32(const uint8_t *at, size_t i) {
    float value;
    memcpy(&value, at + 4 * i, 4);
    return value;
}

static double load_f64(const uint8_t *at, size_t i) {
    double value;
    memcpy(&value, at + 8 * i, 8);
    return value;
}

static float load_f16(const uint8_t *at, size_t i) { /* exact, also for subnormal numbers */
    uint16_t half;
    memcpy(&half, at + 2 * i, 2);
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    float value;
    memcpy(&value, &bits, 4);
    value *= 0x1p112f; /* the difference between the biases of the exponents */
    memcpy(&bits, &value, 4);
    bits |= sign;
    memcpy(&value, &bits, 4);
    return value;
}

static void *carve(uint8_t **workspace, size_t bytes) { /* the next bytes, aligned; also NULL, if there are no rows */
    uintptr_t at = ((uintptr_t)*workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *workspace = (uint8_t *)(at + bytes);
    return (void *)at;
}

static size_t carved(size_t bytes) { return bytes + ALIGNMENT; } /* at most what carve() takes */

static int is_little_endian(void) {
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* -- files -- */

static csae_status no_file(csae_error *error, const char *path, const char *doing) {
    return fail(error, CSAE_IO_ERROR, -1, "%.160s: cannot %s: %.100s", path, doing, strerror(errno));
}

static void close_file(File *file) {
#ifdef CSAE_MMAP
    if (file->mapped) munmap(file->memory, file->bytes.size);
#endif
    if (!file->mapped) CSAE_FREE(file->memory);
    memset(file, 0, sizeof *file);
}

#ifdef CSAE_MMAP
static csae_status open_file(File *file, const char *path, csae_error *error) {
    struct stat about;
    int descriptor = open(path, O_RDONLY);
    if (descriptor < 0) return no_file(error, path, "open");
    if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode) || (uint64_t)about.st_size > SIZE_MAX) {
        close(descriptor);
        return fail(error, CSAE_IO_ERROR, -1, "%.160s: expected a regular file that fits the address space", path);
    }
    size_t size = (size_t)about.st_size;
    void *at = size == 0 ? NULL : mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    close(descriptor);
    if (at == MAP_FAILED) return no_file(error, path, "map");
    *file = (File){{at, size}, at, size > 0};
    return CSAE_OK;
}
#else
static csae_status open_file(File *file, const char *path, csae_error *error) {
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return no_file(error, path, "open");
    long size = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
    uint8_t *memory = size < 0 ? NULL : CSAE_MALLOC((size_t)size + 1);
    int read =
        memory != NULL && fseek(stream, 0, SEEK_SET) == 0 && fread(memory, 1, (size_t)size, stream) == (size_t)size;
    fclose(stream);
    *file = (File){{memory, (size_t)size}, memory, 0};
    if (read) return CSAE_OK;
    close_file(file);
    return size < 0 || memory != NULL ? no_file(error, path, "read") : out_of_memory(error, (size_t)size);
}
#endif

/* -- SHA-256 (FIPS 180-4) and CRC-32 -- */

typedef struct {
    uint32_t H[8];
    uint8_t block[64];
    uint64_t size;
} Sha;

static uint32_t rotated(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void sha_block(uint32_t *H, const uint8_t *block) {
    static const uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t W[64], s[8];
    memcpy(s, H, sizeof s);
    for (int i = 0; i < 16; i++)
        W[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8
               | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = W[i - 15], b = W[i - 2];
        W[i] = W[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + W[i - 7]
               + (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t t =
            s[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + (s[6] ^ (e & (s[5] ^ s[6]))) + K[i] + W[i];
        uint32_t u = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & (s[1] | s[2])) | (s[1] & s[2]));
        s[7] = s[6];
        s[6] = s[5];
        s[5] = e;
        s[4] = s[3] + t;
        s[3] = s[2];
        s[2] = s[1];
        s[1] = a;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++) H[i] += s[i];
}

static Sha sha_start(void) {
    return (Sha){
        {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, {0}, 0};
}

static void sha_add(Sha *sha, const void *data, size_t size) {
    const uint8_t *at = data;
    while (size > 0) {
        size_t used = (size_t)(sha->size % 64), count = smaller(size, 64 - used);
        if (count < 64) memcpy(sha->block + used, at, count);
        if (used + count == 64) sha_block(sha->H, count == 64 ? at : sha->block);
        sha->size += count;
        at += count;
        size -= count;
    }
}

static void sha_end(Sha *sha, char *hex) {
    uint8_t length[8], zeros[64] = {0x80};
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(sha->size * 8 >> (56 - 8 * i));
    sha_add(sha, zeros, 1 + (119 - (size_t)(sha->size % 64)) % 64);
    sha_add(sha, length, 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08lx", (unsigned long)sha->H[i]);
}

static uint32_t crc32(Bytes bytes) { /* of zip; eight bytes at a time */
    uint32_t table[8][256], crc = 0xffffffff;
    for (uint32_t i = 0; i < 256; i++) {
        table[0][i] = i;
        for (int bit = 0; bit < 8; bit++) table[0][i] = table[0][i] >> 1 ^ (table[0][i] & 1) * 0xedb88320;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++) table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
    const uint8_t *at = bytes.at, *end = at + bytes.size;
    for (; end - at >= 8; at += 8) {
        crc ^= (uint32_t)number(at, 4);
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^ table[4][crc >> 24]
              ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    for (; at < end; at++) crc = crc >> 8 ^ table[0][(crc ^ *at) & 255];
    return ~crc;
}

/* -- the archive and its arrays: file-format.md, sections 1 and 2 -- */

static int within(Bytes file, uint64_t start, uint64_t size) { return start <= file.size && size <= file.size - start; }

static int is_member(const uint8_t *at, size_t size, const char *name) { /* with or without .npy */
    size_t length = strlen(name);
    return size >= length && memcmp(at, name, length) == 0
           && (size == length || (size == length + 4 && memcmp(at + length, ".npy", 4) == 0));
}

static csae_status directory(Bytes file, uint64_t *at, uint64_t *end, uint64_t *count, csae_error *error) {
    size_t place = file.size < 22 ? 0 : file.size - 22, lowest = place > 65535 ? place - 65535 : 0;
    if (file.size < 22) return bad_format(error, "expected an .npz archive, got less than 22 bytes");
    while (number(file.at + place, 4) != 0x06054b50) /* a comment may follow the end record */
        if (place-- == lowest)
            return bad_format(error, "expected an .npz archive; this file is cut off, or of another format");
    *count = number(file.at + place + 10, 2);
    *at = number(file.at + place + 16, 4);
    *end = place;
    if (*at == 0xffffffff)
        return bad_format(error, "expected an archive of less than 4 GiB, got one with zip64 records");
    return CSAE_OK;
}

/* The bytes of a member: of the last, if several have this name. NULL bytes if there is none. */
static csae_status find_member(Bytes file, const char *name, int check_crc, Bytes *found, csae_error *error) {
    uint64_t at = 0, end = 0, count = 0, crc = 0;
    csae_status status = directory(file, &at, &end, &count, error);
    if (status != CSAE_OK) return status;
    *found = (Bytes){NULL, 0};
    for (; count > 0; count--) {
        if (!within(file, at, 46) || number(file.at + at, 4) != 0x02014b50)
            return bad_format(error, "the directory of the archive is damaged");
        const uint8_t *entry = file.at + at;
        uint64_t size = number(entry + 24, 4), length = number(entry + 28, 2), local = number(entry + 42, 4);
        if (!within(file, at + 46, length) || !within(file, local, 30))
            return bad_format(error, "the directory of the archive is damaged");
        uint64_t start = local + 30 + number(file.at + local + 26, 2) + number(file.at + local + 28, 2);
        int stored = number(entry + 10, 2) == 0, wanted = is_member(entry + 46, (size_t)length, name);
        if (stored && !within(file, start, size)) return bad_format(error, "a member of the archive is cut off");
        if (wanted && !stored)
            return fail(error, CSAE_FORMAT_ERROR, -1,
                        "expected stored members, got %s compressed; write the file without compression", name);
        if (wanted) {
            *found = (Bytes){file.at + start, (size_t)size};
            crc = number(entry + 16, 4);
        }
        at += 46 + length + number(entry + 30, 2) + number(entry + 32, 2);
    }
    if (at != end) return bad_format(error, "expected one archive from the first byte of the file to its end");
    if (found->at == NULL)
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected a member %s.npy, which is missing", name);
    if (check_crc && crc32(*found) != crc)
        return fail(error, CSAE_FORMAT_ERROR, -1, "the checksum of %s.npy is wrong: the file was altered", name);
    return CSAE_OK;
}

typedef struct {
    char descr[16];
    size_t width;
    int rank;
    uint64_t shape[2];
    Bytes raw;
} Array;

static const char *after(const char *text, size_t size, const char *wanted) { /* what follows it, or NULL */
    size_t length = strlen(wanted);
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(text + i, wanted, length) == 0) return text + i + length;
    return NULL;
}

static int read_shape(const char *at, const char *end, Array *array) { /* such as "384, 4096)" */
    for (array->rank = 0; at < end && *at != ')'; array->rank++) {
        uint64_t size = 0;
        const char *first = at;
        for (; at < end && *at >= '0' && *at <= '9' && at - first < 12; at++) size = 10 * size + (uint64_t)(*at - '0');
        if (at == first || array->rank == 2) return 0;
        array->shape[array->rank] = size;
        while (at < end && (*at == ' ' || *at == ',')) at++;
    }
    return at < end;
}

/* An array whose descr is one of `descrs` ("U" stands for text of any length), with `rank` axes. */
static csae_status find_array(Bytes file, const char *name, const char *descrs, int rank, int check_crc, Array *array,
                              csae_error *error) {
    Bytes member;
    csae_status status = find_member(file, name, check_crc, &member, error);
    if (status != CSAE_OK) return status;
    size_t start = member.size < 10 ? 0 : 10 + (size_t)number(member.at + 8, 2);
    if (start == 0 || start > member.size || memcmp(member.at, "\x93NUMPY\1\0", 8) != 0)
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s.npy to be an .npy file of version 1.0", name);
    const char *header = (const char *)member.at + 10, *end = (const char *)member.at + start;
    const char *descr = after(header, start - 10, "'descr': '"), *shape = after(header, start - 10, "'shape': (");
    if (header == end || *header != '{' || descr == NULL || shape == NULL
        || after(header, start - 10, "'fortran_order': False") == NULL || !read_shape(shape, end, array))
        return fail(error, CSAE_FORMAT_ERROR, -1,
                    "expected the header of %s.npy to state descr, C order and a shape of at most two sizes", name);
    size_t length = 0;
    while (descr + length < end && descr[length] != '\'' && length < sizeof array->descr - 1) length++;
    for (size_t i = 0; i < length; i++) array->descr[i] = descr[i] > ' ' && descr[i] < 127 ? descr[i] : '?';
    array->descr[length] = '\0';
    int is_text = strncmp(array->descr, "<U", 2) == 0;
    const char *known = after(descrs, strlen(descrs), is_text ? "U" : array->descr);
    if (length < (is_text ? 2 : 3) || known == NULL || (!is_text && known[0] != ' ' && known[0] != '\0'))
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s.npy of dtype %s, got %s", name, descrs, array->descr);
    array->width = is_text ? 4 * (size_t)strtoul(array->descr + 2, NULL, 10) : (size_t)(array->descr[2] - '0');
    array->raw = (Bytes){member.at + start, member.size - start};
    uint64_t count = 1, bytes = array->raw.size;
    for (int axis = 0; axis < array->rank; axis++) {
        if (array->shape[axis] > 0 && count > UINT64_MAX / 16 / array->shape[axis]) count = bytes + 1; /* too many */
        else count *= array->shape[axis];
    }
    if (array->rank != rank)
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s.npy with %d axes, got %d", name, rank, array->rank);
    if (array->width > bytes ? bytes > 0 || count > 0 : count * array->width != bytes)
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s.npy to hold as many bytes as its header says", name);
    return CSAE_OK;
}

static csae_status expect_shape(const Array *array, const char *name, uint64_t rows, uint64_t columns,
                                csae_error *error) {
    if (array->shape[0] == rows && (array->rank < 2 || array->shape[1] == columns)) return CSAE_OK;
    return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s.npy with %llu rows and %llu columns, got %llu and %llu",
                name, (unsigned long long)rows, (unsigned long long)columns, (unsigned long long)array->shape[0],
                (unsigned long long)(array->rank < 2 ? 1 : array->shape[1]));
}

/* -- JSON (RFC 8259) in UTF-32, as meta.npy stores it -- */

typedef struct {
    const uint8_t *at;
    size_t length, place;
} Json;

static uint32_t peek(const Json *json) {
    return json->place < json->length ? (uint32_t)number(json->at + 4 * json->place, 4) : 0;
}

static int take(Json *json, uint32_t wanted) {
    if (peek(json) != wanted || json->place == json->length) return 0;
    json->place++;
    return 1;
}

static void skip_space(Json *json) {
    while (take(json, ' ') || take(json, '\t') || take(json, '\n') || take(json, '\r')) {}
}

static int take_hex(Json *json, uint32_t *unit) { /* the four digits of \uXXXX */
    *unit = 0;
    for (int i = 0; i < 4; i++, json->place++) {
        uint32_t c = peek(json), letter = c | 32;
        if (c >= '0' && c <= '9') *unit = *unit << 4 | (c - '0');
        else if (letter >= 'a' && letter <= 'f') *unit = *unit << 4 | (letter - 'a' + 10);
        else return 0;
    }
    return 1;
}

static int take_escape(Json *json, uint32_t *c) { /* after the backslash */
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t letter = peek(json), low;
    if (letter == 0) return 0;
    json->place++;
    if (letter != 'u') {
        const char *known = letter < 128 ? strchr(from, (int)letter) : NULL;
        *c = known == NULL ? 0 : (uint32_t)to[known - from];
        return known != NULL;
    }
    if (!take_hex(json, c)) return 0;
    if (*c < 0xd800 || *c > 0xdfff) return 1;
    if (*c > 0xdbff || !take(json, '\\') || !take(json, 'u') || !take_hex(json, &low) || low < 0xdc00 || low > 0xdfff)
        return 0;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return 1;
}

/* 1 and a character of a string, 0 at its closing quote, -1 if it is malformed */
static int next_character(Json *json, uint32_t *c) {
    if (take(json, '"')) return 0;
    if (take(json, '\\')) return take_escape(json, c) ? 1 : -1;
    *c = peek(json);
    if (*c < ' ') return -1; /* also at the end */
    json->place++;
    return 1;
}

static int take_string(Json *json, const char *text, int *same) { /* same: whether it is `text` */
    uint32_t c;
    int more = take(json, '"') ? 1 : -1;
    for (*same = 1; more == 1 && (more = next_character(json, &c)) == 1;) {
        *same = *same && *text != '\0' && c == (uint8_t)*text;
        text += *same;
    }
    *same = *same && *text == '\0';
    return more == 0;
}

static size_t take_digits(Json *json) {
    size_t first = json->place;
    while (peek(json) >= '0' && peek(json) <= '9') json->place++;
    return json->place - first;
}

static int take_number(Json *json) {
    take(json, '-');
    if (!take(json, '0') && take_digits(json) == 0) return 0;
    if (take(json, '.') && take_digits(json) == 0) return 0;
    if (!take(json, 'e') && !take(json, 'E')) return 1;
    if (!take(json, '+')) take(json, '-');
    return take_digits(json) > 0;
}

static int take_word(Json *json, const char *word) {
    while (*word != '\0' && take(json, (uint8_t)*word)) word++;
    return *word == '\0';
}

static int take_value(Json *json, int depth);

/* An object or array. If `name` is not NULL, *found becomes the last value of that name. */
static int take_container(Json *json, int depth, const char *name, Json *found) {
    uint32_t close = take(json, '{') ? '}' : ']';
    int same;
    if ((close == ']' && !take(json, '[')) || depth == DEEPEST_JSON) return 0;
    skip_space(json);
    if (take(json, close)) return 1;
    do {
        skip_space(json);
        if (close == '}') {
            if (!take_string(json, name == NULL ? "" : name, &same)) return 0;
            skip_space(json);
            if (!take(json, ':')) return 0;
            skip_space(json);
            if (name != NULL && same) *found = *json;
        }
        if (!take_value(json, depth + 1)) return 0;
        skip_space(json);
    } while (take(json, ','));
    return take(json, close);
}

static int take_value(Json *json, int depth) {
    int same;
    switch (peek(json)) {
        case '{':
        case '[': return take_container(json, depth, NULL, NULL);
        case '"': return take_string(json, "", &same);
        case 't': return take_word(json, "true");
        case 'f': return take_word(json, "false");
        case 'n': return take_word(json, "null");
        default: return take_number(json);
    }
}

static Json value_of(Json meta, const char *name) { /* of length 0 if it is missing; meta is a valid object */
    Json found = {meta.at, 0, 0};
    skip_space(&meta);
    take_container(&meta, 0, name, &found);
    return found;
}

static int is_string(Json meta, const char *name, const char *text) {
    Json value = value_of(meta, name);
    int same = 0;
    return take_string(&value, text, &same) && same;
}

static int is_word(Json meta, const char *name, const char *word) { /* true, false or null */
    Json value = value_of(meta, name);
    return take_word(&value, word);
}

static int is_null(Json meta, const char *name) { /* or missing */
    return value_of(meta, name).length == 0 || is_word(meta, name, "null");
}

static csae_status integer(Json meta, const char *name, uint64_t most, size_t *out, csae_error *error) { /* from 1 */
    Json value = value_of(meta, name);
    size_t first = value.place, digits = take_digits(&value);
    uint64_t found = 0, c = peek(&value);
    for (size_t i = first; i < first + digits && found <= most; i++)
        found = 10 * found + number(value.at + 4 * i, 4) - '0';
    if (digits == 0 || found < 1 || found > most || c == '.' || (c | 32) == 'e')
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected %s in meta to be an integer from 1 to %llu", name,
                    (unsigned long long)most);
    *out = (size_t)found;
    return CSAE_OK;
}

static size_t put_utf8(char *at, uint32_t c) {
    if (c == 0) c = 0xfffd; /* NUL would end the string; no digest holds either */
    if (c < 0x80) return at[0] = (char)c, 1;
    if (c < 0x800) return at[0] = (char)(0xc0 | c >> 6), at[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return at[0] = (char)(0xe0 | c >> 12), at[1] = (char)(0x80 | (c >> 6 & 63)), at[2] = (char)(0x80 | (c & 63)), 3;
    at[0] = (char)(0xf0 | c >> 18), at[1] = (char)(0x80 | (c >> 12 & 63));
    at[2] = (char)(0x80 | (c >> 6 & 63)), at[3] = (char)(0x80 | (c & 63));
    return 4;
}

static csae_status model_of(Json meta, char **model, csae_error *error) { /* a string, or NULL for null */
    Json value = value_of(meta, "model"), text = value;
    uint32_t c;
    size_t used = 0;
    *model = NULL;
    if (take_word(&value, "null")) return CSAE_OK;
    if (!take(&text, '"')) return bad_format(error, "expected model in meta to be a string or null");
    if ((*model = CSAE_MALLOC(4 * (text.length - text.place) + 1)) == NULL)
        return out_of_memory(error, 4 * text.length);
    while (next_character(&text, &c) == 1) used += put_utf8(*model + used, c);
    (*model)[used] = '\0';
    return CSAE_OK;
}

static csae_status read_meta(Bytes file, const char *format, uint64_t newest, Json *meta, size_t *version,
                             csae_error *error) {
    Array text;
    csae_status status = find_array(file, "meta", "U", 0, 1, &text, error);
    if (status != CSAE_OK) return status;
    *meta = (Json){text.raw.at, text.raw.size / 4, 0};
    for (size_t i = 0; i < meta->length; i++) {
        uint64_t c = number(meta->at + 4 * i, 4);
        if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return bad_format(error, "expected meta to be text, got NUL or half a surrogate pair");
    }
    Json whole = *meta;
    skip_space(&whole);
    int sound = peek(&whole) == '{' && take_value(&whole, 0);
    skip_space(&whole);
    if (!sound || whole.place != whole.length)
        return bad_format(error, "expected meta to be one JSON object (RFC 8259)");
    if (!is_string(*meta, "format", format))
        return fail(error, CSAE_FORMAT_ERROR, -1, "expected a file of format %s, got another format", format);
    return integer(*meta, "version", newest, version, error);
}

/* -- packed codes: packed.md, section 1 -- */

static unsigned low_bits(size_t h, size_t k) { /* E24: the smallest number that minimises the total */
    unsigned best = 0;
    for (unsigned low = 1; low < 32; low++)
        if (k * (uint64_t)low + ((h - 1) >> low) < k * (uint64_t)best + ((h - 1) >> best)) best = low;
    return best;
}

static int are_bits(unsigned bits) { return bits == 4 || bits == 5 || bits == 6 || bits == 8; } /* R18 */

static uint64_t high_bits(size_t h, size_t k, unsigned low) { return k + ((h - 1) >> low); }

size_t csae_packed_bytes(size_t h, size_t k, unsigned bits) {
    if (k < 1 || k > h || h > INT32_MAX || !are_bits(bits)) return 0;
    unsigned low = low_bits(h, k);
    return (size_t)((k * (uint64_t)low + high_bits(h, k, low) + k * (uint64_t)bits + 7) / 8);
}

static uint64_t get_bits(Bytes row, uint64_t first, unsigned count) { /* count is at most 57 */
    size_t byte = (size_t)(first / 8);
    uint64_t word;
    if (row.size - byte >= 8) memcpy(&word, row.at + byte, 8);
    else word = number(row.at + byte, row.size - byte);
    return word >> first % 8 & (((uint64_t)1 << count) - 1);
}

static uint64_t bits_at(const uint8_t *row, uint64_t first, unsigned count) { /* where eight bytes can be read */
    uint64_t word;
    memcpy(&word, row + first / 8, 8);
    return word >> first % 8 & (((uint64_t)1 << count) - 1);
}

static unsigned lowest_bit(uint64_t word) { /* its place; word is not 0 */
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(word);
#else
    unsigned place = 0;
    for (; (word & 255) == 0; word >>= 8) place += 8;
    for (; (word & 1) == 0; word >>= 1) place++;
    return place;
#endif
}

/* Indices, and values as stored in E25: false for bytes that packing cannot produce (R20). A row of zeros (R19) has
 * stored values of 0 and *zero is set. `row` may go on behind the row itself. */
static int unpack_row(Bytes row, size_t width, size_t h, size_t k, unsigned low, unsigned bits, int32_t *indices,
                      uint8_t *stored, int *zero) {
    uint64_t highs = high_bits(h, k, low), start = k * (uint64_t)low, end = start + highs + k * (uint64_t)bits;
    size_t t = 0;
    *zero = 1;
    for (size_t i = 0; i < width && *zero; i++) *zero = row.at[i] == 0;
    for (size_t i = 0; i < k && *zero; i++) indices[i] = (int32_t)i, stored[i] = 0;
    if (*zero) return 1;
    for (uint64_t place = 0; place < highs; place += 56) {
        uint64_t word = get_bits(row, start + place, (unsigned)(highs - place < 56 ? highs - place : 56));
        for (; word != 0; word &= word - 1) {
            if (t == k) return 0;
            indices[t] = (int32_t)((place + lowest_bit(word) - t) << low);
            t++;
        }
    }
    if (t != k || (8 * (uint64_t)width > end && get_bits(row, end, (unsigned)(8 * (uint64_t)width - end)) != 0))
        return 0;
    unsigned levels = 1u << (bits - 1), largest = 0;
    int64_t before = -1;
    int ascending = 1;
    for (t = 0; t < k; t++) {
        int64_t index = indices[t] | (int64_t)get_bits(row, t * (uint64_t)low, low);
        ascending &= index > before;
        before = index;
        indices[t] = (int32_t)index;
    }
    for (t = 0; t < k; t++) {
        stored[t] = (uint8_t)get_bits(row, start + highs + t * (uint64_t)bits, bits);
        if (stored[t] % levels > largest) largest = stored[t] % levels;
    }
    return ascending && before < (int64_t)h && largest == levels - 1;
}

static float unpacked_value(unsigned stored, unsigned bits) { /* E25; exact in float32 */
    unsigned levels = 1u << (bits - 1);
    float magnitude = ((float)(stored % levels) + 0.5f) / (float)levels;
    return stored >= levels ? -magnitude : magnitude;
}

static void put_bits(uint8_t *row, uint64_t first, unsigned count, uint64_t bits) {
    for (unsigned i = 0; i < count; i++) row[(first + i) / 8] |= (uint8_t)((bits >> i & 1) << (first + i) % 8);
}

/* -- rows that are checked before anything is computed -- */

static double value_at(const void *data, csae_dtype dtype, size_t i) {
    return dtype == CSAE_FLOAT32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

static int is_zero_row(csae_rows x, size_t i) {
    for (size_t c = 0; c < x.d; c++)
        if (value_at(x.data, x.dtype, i * x.d + c) != 0.0) return 0;
    return 1;
}

static csae_status check_known(csae_dtype dtype, csae_error *error) {
    if (dtype == CSAE_FLOAT32 || dtype == CSAE_FLOAT64) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1, "expected CSAE_FLOAT32 or CSAE_FLOAT64, got dtype %d", (int)dtype);
}

static csae_status check_rows(csae_rows x, size_t d, int may_be_zero, const char *advice, csae_error *error) {
    csae_status status = check_known(x.dtype, error);
    if (status != CSAE_OK) return status;
    if (x.d != d)
        return fail(error, CSAE_SHAPE_ERROR, -1, "expected rows of d = %llu numbers, got %llu", (unsigned long long)d,
                    (unsigned long long)x.d);
    for (size_t i = 0; i < x.n; i++) {
        for (size_t c = 0; c < d; c++)
            if (!isfinite(value_at(x.data, x.dtype, i * d + c)))
                return fail(error, CSAE_DOMAIN_ERROR, (int64_t)i,
                            "expected finite numbers, got NaN or infinity in row %llu", (unsigned long long)i);
        if (!may_be_zero && is_zero_row(x, i))
            return fail(error, CSAE_DOMAIN_ERROR, (int64_t)i,
                        "expected a direction, got a zero row %llu; leave it out%s", (unsigned long long)i, advice);
    }
    return CSAE_OK;
}

static csae_status check_queries(csae_rows x, size_t d, csae_error *error) { return check_rows(x, d, 0, "", error); }

static csae_status check_flagged_rows(csae_rows x, size_t d, unsigned flags, csae_error *error) {
    csae_status status = check_flags(flags, CSAE_EMPTY_ZERO_ROWS, "0 or CSAE_EMPTY_ZERO_ROWS", error);
    if (status != CSAE_OK) return status;
    return check_rows(x, d, flags != 0, ", or use CSAE_EMPTY_ZERO_ROWS", error);
}

static csae_status check_k(size_t k, size_t most, csae_error *error) {
    if (k >= 1 && k <= most) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1, "expected k from 1 to %llu, got %llu", (unsigned long long)most,
                (unsigned long long)k);
}

/* `status` is the kind of error. The arrays may lie at any alignment. */
static csae_status check_codes(const uint8_t *indices, const uint8_t *values, csae_dtype dtype, size_t n, size_t k,
                               size_t h, csae_status status, csae_error *error) {
    for (size_t i = 0; i < n; i++) {
        int64_t before = -1;
        for (size_t t = i * k; t < (i + 1) * k; t++) {
            int32_t index = (int32_t)number(indices + 4 * t, 4);
            double value = values == NULL          ? 0.0
                           : dtype == CSAE_FLOAT32 ? (double)load_f32(values, t)
                                                   : load_f64(values, t);
            if (index <= before || (uint32_t)index >= h || !isfinite(value))
                return fail(error, status, (int64_t)i,
                            "expected finite values at ascending indices below %llu, got others in row %llu",
                            (unsigned long long)h, (unsigned long long)i);
            before = index;
        }
    }
    return CSAE_OK;
}

static csae_status check_code_rows(csae_code_rows codes, size_t h, csae_error *error) {
    if (codes.h != h)
        return fail(error, CSAE_SHAPE_ERROR, -1, "expected codes of h = %llu latents, got %llu", (unsigned long long)h,
                    (unsigned long long)codes.h);
    csae_status status = check_known(codes.dtype, error);
    if (status == CSAE_OK) status = check_k(codes.k, codes.h, error);
    if (status != CSAE_OK) return status;
    return check_codes((const uint8_t *)codes.indices, codes.values, codes.dtype, codes.n, codes.k, codes.h,
                       CSAE_DOMAIN_ERROR, error);
}

static csae_status check_same_model(const char *one, const char *other, csae_error *error) { /* R13 */
    if (one == NULL || other == NULL || *one == '\0' || *other == '\0' || strcmp(one, other) == 0) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1, "expected codes of one model, got digests %.12s and %.12s", one, other);
}

/* -- everything that is computed, in float and in double -- */

#define JOIN_(name, suffix) name##_##suffix
#define JOIN(name, suffix) JOIN_(name, suffix)
#define F(name) JOIN(name, SUFFIX)

#define REAL double
#define REAL_IS_DOUBLE 1
#define SUFFIX f64
#define BITS uint64_t
#define SQRT sqrt
#define FABS fabs
#define FLOOR floor
#define TOLERANCE 0x1p-26 /* R15 */
#define ULP DBL_EPSILON
#include "compressae.c"
#undef REAL
#undef REAL_IS_DOUBLE
#undef SUFFIX
#undef BITS
#undef SQRT
#undef FABS
#undef FLOOR
#undef TOLERANCE
#undef ULP

#define REAL float
#define REAL_IS_DOUBLE 0
#define SUFFIX f32
#define BITS uint32_t
#define SQRT sqrtf
#define FABS fabsf
#define FLOOR floorf
#define TOLERANCE 0x1p-11f /* R15 */
#define ULP FLT_EPSILON
#include "compressae.c"

#define IS_F32(dtype) ((dtype) == CSAE_FLOAT32)

static csae_status check_build(csae_error *error) {
    if (!is_little_endian()) return fail(error, CSAE_BUILD_ERROR, -1, "expected a little-endian processor");
    if (computes_other_bits_f32() || computes_other_bits_f64())
        return fail(error, CSAE_BUILD_ERROR, -1,
                    "this build fuses multiply-adds or flushes subnormal numbers; build with -ffp-contract=off and "
                    "without -ffast-math");
    return CSAE_OK;
}

/* -- models -- */

typedef struct {
    csae_model *model;
    Bytes file;
    Json meta;
    unsigned flags;
    int only_encoder, centered;
    csae_error *error;
} Opening;

static Stored stored_kind(const Opening *o) {
    csae_dtype dtype = o->model->dtype;
    if (o->model->version < 3) return IS_F32(dtype) ? STORED_F32 : STORED_F64;
    if (is_string(o->meta, "weights", "float64") && !IS_F32(dtype)) return STORED_F64;
    if (!IS_F32(dtype)) return ABSENT;
    if (is_string(o->meta, "weights", "float32")) return STORED_F32;
    if (is_string(o->meta, "weights", "float16")) return STORED_F16;
    return is_string(o->meta, "weights", "int8") ? STORED_I8 : ABSENT;
}

static csae_status read_head(Opening *o) { /* the sizes and kinds in meta */
    csae_model *m = o->model;
    csae_status status = read_meta(o->file, "compressae-model", 3, &o->meta, &m->version, o->error);
    if (status == CSAE_OK) status = integer(o->meta, "d", INT32_MAX, &m->d, o->error);
    if (status == CSAE_OK) status = integer(o->meta, "n_latents", INT32_MAX, &m->h, o->error);
    if (status == CSAE_OK) status = integer(o->meta, "k", m->h, &m->k, o->error);
    if (status != CSAE_OK) return status;
    if (is_string(o->meta, "dtype", "float32")) m->dtype = CSAE_FLOAT32;
    else if (is_string(o->meta, "dtype", "float64")) m->dtype = CSAE_FLOAT64;
    else return bad_format(o->error, "expected dtype in meta to be float32 or float64");
    if (stored_kind(o) == ABSENT)
        return bad_format(
            o->error,
            "expected weights in meta to be float64, float32, float16 or int8, and float64 only with dtype float64");
    Json training = value_of(o->meta, "training");
    if (peek(&training) != '{') return bad_format(o->error, "expected training in meta to be an object");
    o->centered = o->model->version == 2;
    if (o->model->version < 3 && o->flags & CSAE_ENCODER_ONLY)
        return fail(o->error, CSAE_FORMAT_ERROR, -1,
                    "expected a file of version 3 for CSAE_ENCODER_ONLY, got version %d; open it without this flag, or "
                    "convert it with compressae-ref convert --only encoder",
                    (int)o->model->version);
    if (o->model->version < 3) return CSAE_OK;
    o->centered = is_word(o->meta, "centered", "true");
    o->only_encoder = is_string(o->meta, "only", "encoder");
    if (!o->only_encoder && !is_null(o->meta, "only")) /* R44 */
        return bad_format(o->error, "expected only in meta to be encoder or null");
    if (!o->centered && !is_word(o->meta, "centered", "false") && !is_null(o->meta, "centered"))
        return bad_format(o->error, "expected centered in meta to be true, false or null");
    if (o->flags & CSAE_ENCODER_ONLY) o->only_encoder = 1;
    return CSAE_OK;
}

static csae_status read_weights(Opening *o, const char *name, Weights *w, size_t rows, size_t columns) {
    static const char *const descrs[] = {"", "<f8", "<f4", "<f2", "|i1"};
    Array array;
    w->kind = stored_kind(o);
    csae_status status = find_array(o->file, name, descrs[w->kind], 2, !(o->flags & CSAE_UNVERIFIED), &array, o->error);
    if (status == CSAE_OK) status = expect_shape(&array, name, rows, columns, o->error);
    w->at = array.raw.at;
    w->rows = rows;
    w->columns = columns;
    return status;
}

/* A vector is copied, so that it is aligned. */
static csae_status read_vector(Opening *o, const char *name, size_t n, csae_dtype dtype, void *out) {
    Array array;
    csae_status status = find_array(o->file, name, IS_F32(dtype) ? "<f4" : "<f8", 1, 1, &array, o->error);
    if (status == CSAE_OK) status = expect_shape(&array, name, n, 1, o->error);
    if (status != CSAE_OK) return status;
    memcpy(out, array.raw.at, array.raw.size);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(value_at(out, dtype, i)))
            return fail(o->error, CSAE_FORMAT_ERROR, -1, "expected finite numbers in %s.npy", name);
    return CSAE_OK;
}

static csae_status read_scales(Opening *o, const char *name, const float *scales) { /* R45 */
    csae_status status = read_vector(o, name, o->model->h, CSAE_FLOAT32, (void *)scales);
    for (size_t j = 0; j < o->model->h && status == CSAE_OK; j++)
        if (!(scales[j] > 0)) status = fail(o->error, CSAE_FORMAT_ERROR, -1, "expected scales above 0 in %s.npy", name);
    return status;
}

static csae_status check_mean(const csae_model *m, csae_status kind, csae_error *error) { /* R21 */
    double *terms = CSAE_MALLOC(m->d * sizeof(double));
    if (terms == NULL) return out_of_memory(error, m->d * sizeof(double));
    double square = IS_F32(m->dtype) ? (double)dot_f32(m->mean, m->mean, m->d, (float *)terms)
                                     : dot_f64(m->mean, m->mean, m->d, terms);
    CSAE_FREE(terms);
    if (square <= 1.0 - 0x1p-16) return CSAE_OK;
    return fail(error, kind, -1, "expected a mean whose squared norm is at most 1 - 2^-16, got %.9g", square);
}

/* Memory for b_enc, mean and scales. */
static csae_status place_vectors(csae_model *m, int with_mean, int with_scales, csae_error *error) {
    size_t bytes = carved(m->h * m->dtype) + (with_mean ? carved(m->d * m->dtype) : 0)
                   + (with_scales ? 2 * carved(m->h * sizeof(float)) : 0);
    uint8_t *at = m->memory = CSAE_MALLOC(bytes);
    if (at == NULL) return out_of_memory(error, bytes);
    m->b_enc = carve(&at, m->h * m->dtype);
    m->mean = with_mean ? carve(&at, m->d * m->dtype) : NULL;
    if (with_scales)
        m->W_enc.scales = carve(&at, m->h * sizeof(float)), m->W_dec.scales = carve(&at, m->h * sizeof(float));
    return CSAE_OK;
}

static void decode_row(const csae_model *m, const Weights *w, size_t row, void *out) {
    if (IS_F32(m->dtype)) weights_row_f32(w, row, out);
    else weights_row_f64(w, row, out);
}

static void add_line(Sha *sha, const csae_model *m, const char *name, size_t rows, size_t columns) { /* E18 */
    char line[96];
    if (columns == 0) snprintf(line, sizeof line, "%s <f%d (%llu,)\n", name, (int)m->dtype, (unsigned long long)rows);
    else
        snprintf(line, sizeof line, "%s <f%d (%llu, %llu)\n", name, (int)m->dtype, (unsigned long long)rows,
                 (unsigned long long)columns);
    sha_add(sha, line, strlen(line));
}

static int are_allowed(const Weights *w, size_t row) { /* as they are stored: no NaN, no infinity, no -128 (R45) */
    for (size_t i = row * w->columns; i < (row + 1) * w->columns; i++) {
        if (w->kind == STORED_F16 && (number(w->at + 2 * i, 2) & 0x7c00) == 0x7c00) return 0;
        if (w->kind == STORED_I8 && w->at[i] == 0x80) return 0;
    }
    return 1;
}

/* Check all numbers of a matrix, and add it to digests; the second may be NULL. */
static csae_status check_weights(Opening *o, const char *name, const Weights *w, Sha *one, Sha *two, void *row) {
    const csae_model *m = o->model;
    add_line(one, m, name, w->rows, w->columns);
    if (two != NULL) add_line(two, m, name, w->rows, w->columns);
    for (size_t i = 0; i < w->rows; i++) {
        double square = 0.0;
        int allowed = are_allowed(w, i);
        decode_row(m, w, i, row);
        for (size_t c = 0; c < w->columns; c++) {
            double value = value_at(row, m->dtype, c);
            allowed &= isfinite(value) != 0;
            square += value * value;
        }
        if (!allowed)
            return fail(o->error, CSAE_FORMAT_ERROR, (int64_t)i, "expected finite numbers, and no -128, in %s", name);
        if (w->latents_are_rows && !(fabs(sqrt(square) - 1.0) <= 1e-3))
            return fail(o->error, CSAE_FORMAT_ERROR, (int64_t)i,
                        "expected atoms of norm 1 in W_dec.npy, got %.6g in row %llu", sqrt(square),
                        (unsigned long long)i);
        sha_add(one, row, w->columns * m->dtype);
        if (two != NULL) sha_add(two, row, w->columns * m->dtype);
    }
    return CSAE_OK;
}

static void add_vector(Sha *sha, const csae_model *m, const char *name, const void *data, size_t n) {
    add_line(sha, m, name, n, 0);
    sha_add(sha, data, n * m->dtype);
}

static csae_status check_digest(Opening *o, const char *name, Sha *sha) {
    char hex[65];
    sha_end(sha, hex);
    if (is_string(o->meta, name, hex)) return CSAE_OK;
    return fail(o->error, CSAE_FORMAT_ERROR, -1, "the %s in meta is not that of the weights: the file was altered",
                name);
}

static csae_status verify_weights(Opening *o) {
    csae_model *m = o->model;
    Sha whole = sha_start(), encoder = sha_start();
    size_t longest = (m->d > m->h ? m->d : m->h) * m->dtype;
    void *row = CSAE_MALLOC(longest);
    if (row == NULL) return out_of_memory(o->error, longest);
    int needs_encoder = o->model->version == 3;
    csae_status status = check_weights(o, "W_enc", &m->W_enc, &whole, needs_encoder ? &encoder : NULL, row);
    add_vector(&whole, m, "b_enc", m->b_enc, m->h);
    add_vector(&encoder, m, "b_enc", m->b_enc, m->h);
    if (status == CSAE_OK && !o->only_encoder) status = check_weights(o, "W_dec", &m->W_dec, &whole, NULL, row);
    if (m->mean != NULL) add_vector(&whole, m, "mean", m->mean, m->d), add_vector(&encoder, m, "mean", m->mean, m->d);
    CSAE_FREE(row);
    if (status == CSAE_OK && needs_encoder) status = check_digest(o, "encoder", &encoder);
    if (status == CSAE_OK && !o->only_encoder) status = check_digest(o, "digest", &whole);
    return status;
}

static csae_status copy_digest(Opening *o) {
    Json value = value_of(o->meta, "digest");
    uint32_t c;
    size_t n = 0;
    if (take(&value, '"'))
        for (; n < 64 && next_character(&value, &c) == 1 && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')); n++)
            o->model->digest[n] = (char)c;
    if (n == 64 && take(&value, '"')) return CSAE_OK;
    return bad_format(o->error, "expected digest in meta to be 64 hexadecimal digits");
}

static csae_status read_arrays(Opening *o) {
    csae_model *m = o->model;
    int int8 = stored_kind(o) == STORED_I8;
    csae_status status =
        read_weights(o, "W_enc", &m->W_enc, m->d, m->h); /* first: it bounds the sizes by the bytes of the file */
    if (status == CSAE_OK && !o->only_encoder) status = read_weights(o, "W_dec", &m->W_dec, m->h, m->d);
    m->W_dec.latents_are_rows = 1;
    if (status == CSAE_OK) status = place_vectors(m, o->centered, int8, o->error);
    if (status == CSAE_OK) status = read_vector(o, "b_enc", m->h, m->dtype, (void *)m->b_enc);
    if (status == CSAE_OK && o->centered) status = read_vector(o, "mean", m->d, m->dtype, (void *)m->mean);
    if (status == CSAE_OK && o->centered) status = check_mean(m, CSAE_FORMAT_ERROR, o->error);
    if (status == CSAE_OK && int8) status = read_scales(o, "W_enc_scales", m->W_enc.scales);
    if (status == CSAE_OK && int8 && !o->only_encoder) status = read_scales(o, "W_dec_scales", m->W_dec.scales);
    return status;
}

static csae_status open_model(csae_model **model, File file, unsigned flags, csae_error *error) {
    csae_model *m = CSAE_MALLOC(sizeof *m);
    if (m == NULL) {
        close_file(&file);
        return out_of_memory(error, sizeof *m);
    }
    *m = (csae_model){.file = file};
    Opening o = {.model = m, .file = file.bytes, .flags = flags, .error = error};
    csae_status status = check_build(error);
    if (status == CSAE_OK)
        status = check_flags(flags, CSAE_UNVERIFIED | CSAE_ENCODER_ONLY,
                             "0, CSAE_UNVERIFIED, CSAE_ENCODER_ONLY or both", error);
    if (status == CSAE_OK) status = read_head(&o);
    if (status == CSAE_OK) status = copy_digest(&o);
    if (status == CSAE_OK) status = read_arrays(&o);
    if (status == CSAE_OK && !(flags & CSAE_UNVERIFIED)) status = verify_weights(&o);
    if (status == CSAE_OK) *model = m;
    else csae_close_model(m);
    return status == CSAE_OK ? done(error) : status;
}

csae_status csae_open_model(csae_model **model, const char *path, unsigned flags, csae_error *error) {
    File file;
    csae_status status = NEED(1, "model path", model, path);
    if (model != NULL) *model = NULL;
    if (status == CSAE_OK) status = open_file(&file, path, error);
    return status != CSAE_OK ? status : with_path(error, path, open_model(model, file, flags, error));
}

csae_status csae_open_model_bytes(csae_model **model, const void *data, size_t size, unsigned flags,
                                  csae_error *error) {
    csae_status status = NEED(size, "model data", model, data);
    if (model != NULL) *model = NULL;
    return status != CSAE_OK ? status : open_model(model, (File){{data, size}, NULL, 0}, flags, error);
}

csae_status csae_make_model(csae_model **model, csae_dtype dtype, size_t d, size_t h, size_t k, const void *W_enc,
                            const void *b_enc, const void *W_dec, const void *mean, csae_error *error) {
    Stored kind = IS_F32(dtype) ? STORED_F32 : STORED_F64;
    csae_model *m = NULL;
    csae_status status = NEED(1, "model", model);
    if (status == CSAE_OK) *model = NULL, status = check_build(error);
    if (status == CSAE_OK
        && (d < 1 || h < 1 || d > INT32_MAX || h > INT32_MAX || (dtype != CSAE_FLOAT32 && dtype != CSAE_FLOAT64)))
        status = fail(error, CSAE_DOMAIN_ERROR, -1,
                      "expected d and h from 1 to 2147483647, and CSAE_FLOAT32 or CSAE_FLOAT64");
    if (status == CSAE_OK) status = check_k(k, h, error);
    if (status == CSAE_OK && (m = CSAE_MALLOC(sizeof *m)) == NULL) status = out_of_memory(error, sizeof *m);
    if (status != CSAE_OK) return status;
    *m = (csae_model){.dtype = dtype, .d = d, .h = h, .k = k};
    if (W_enc != NULL) m->W_enc = (Weights){kind, W_enc, NULL, 0, d, h};
    if (W_dec != NULL) m->W_dec = (Weights){kind, W_dec, NULL, 1, h, d};
    status = place_vectors(m, mean != NULL, 0, error);
    if (status == CSAE_OK && b_enc != NULL) memcpy((void *)m->b_enc, b_enc, h * dtype);
    if (status == CSAE_OK && b_enc == NULL) memset((void *)m->b_enc, 0, h * dtype);
    if (status == CSAE_OK && mean != NULL) {
        memcpy((void *)m->mean, mean, d * dtype);
        status = check_mean(m, CSAE_DOMAIN_ERROR, error);
    }
    if (status == CSAE_OK) *model = m;
    else csae_close_model(m);
    return status == CSAE_OK ? done(error) : status;
}

void csae_close_model(csae_model *model) {
    if (model == NULL) return;
    close_file(&model->file);
    CSAE_FREE(model->memory);
    CSAE_FREE(model);
}

csae_model_info csae_describe_model(const csae_model *m) {
    static const char *const names[] = {"", "float64", "float32", "float16", "int8"};
    if (m == NULL) return (csae_model_info){.weights = "", .digest = ""};
    Stored kind = m->W_enc.kind != ABSENT ? m->W_enc.kind : m->W_dec.kind;
    return (csae_model_info){.dtype = m->dtype,
                             .d = m->d,
                             .h = m->h,
                             .k = m->k,
                             .version = (int)m->version,
                             .centered = m->mean != NULL,
                             .has_encoder = m->W_enc.kind != ABSENT,
                             .has_decoder = m->W_dec.kind != ABSENT,
                             .weights = names[kind],
                             .digest = m->digest};
}

csae_status csae_copy_weights(const csae_model *m, csae_weights which, void *out, csae_error *error) {
    csae_status status = NEED(1, "model out", m, out);
    if (status != CSAE_OK) return status;
    if ((unsigned)which > CSAE_MEAN)
        return fail(error, CSAE_DOMAIN_ERROR, -1, "expected CSAE_W_ENC, CSAE_B_ENC, CSAE_W_DEC or CSAE_MEAN, got %d",
                    (int)which);
    const Weights *w = which == CSAE_W_ENC ? &m->W_enc : &m->W_dec;
    if ((which == CSAE_MEAN && m->mean == NULL) || ((which == CSAE_W_ENC || which == CSAE_W_DEC) && w->kind == ABSENT))
        return fail(error, CSAE_DOMAIN_ERROR, -1, "expected a model with these weights, got one without");
    if (which == CSAE_B_ENC) memcpy(out, m->b_enc, m->h * m->dtype);
    else if (which == CSAE_MEAN) memcpy(out, m->mean, m->d * m->dtype);
    else
        for (size_t i = 0; i < w->rows; i++) decode_row(m, w, i, (uint8_t *)out + i * w->columns * m->dtype);
    return done(error);
}

/* -- codes of rows -- */

static csae_status needs(const Weights *w, const char *what, csae_error *error) {
    if (w->kind != ABSENT) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1,
                "expected a model with %s, got one without; open a file of the whole model", what);
}

static csae_status overflow(int64_t row, csae_error *error) {
    if (row < 0) return done(error);
    return fail(error, CSAE_DOMAIN_ERROR, row,
                "expected finite values of codes, got an overflow in row %lld; the weights are too large",
                (long long)row);
}

size_t csae_workspace_bytes(const csae_model *m) {
    if (m == NULL) return 0;
    return IS_F32(m->dtype) ? workspace_bytes_f32(m->d, m->h) : workspace_bytes_f64(m->d, m->h);
}

size_t csae_refine_workspace_bytes(const csae_model *m, size_t k, size_t candidates) {
    if (m == NULL) return 0;
    return IS_F32(m->dtype) ? refine_bytes_f32(m, k, candidates) : refine_bytes_f64(m, k, candidates);
}

csae_status csae_unit_rows(const csae_model *m, csae_rows x, unsigned flags, void *x_unit, void *workspace,
                           csae_error *error) {
    csae_status status = NEED(x.n, "model x.data x_unit workspace", m, x.data, x_unit, workspace);
    if (status == CSAE_OK) status = check_flagged_rows(x, m->d, flags, error);
    if (status != CSAE_OK) return status;
    if (IS_F32(m->dtype)) unit_rows_f32(m, x, x_unit, workspace);
    else unit_rows_f64(m, x, x_unit, workspace);
    return done(error);
}

csae_status csae_encode(const csae_model *m, csae_rows x, size_t k, unsigned flags, int32_t *indices, void *values,
                        void *workspace, csae_error *error) {
    csae_status status = NEED(x.n, "model x.data indices values workspace", m, x.data, indices, values, workspace);
    if (status == CSAE_OK) status = needs(&m->W_enc, "W_enc", error);
    if (status == CSAE_OK) status = check_k(k, m->h, error);
    if (status == CSAE_OK) status = check_flagged_rows(x, m->d, flags, error);
    if (status != CSAE_OK) return status;
    return overflow(IS_F32(m->dtype) ? encode_f32(m, x, k, indices, values, workspace)
                                     : encode_f64(m, x, k, indices, values, workspace),
                    error);
}

csae_status csae_refine(const csae_model *m, csae_rows x, size_t k, size_t candidates, const int32_t *given,
                        unsigned flags, int32_t *indices, void *values, void *workspace, csae_error *error) {
    csae_status status = NEED(x.n, "model x.data indices values workspace", m, x.data, indices, values, workspace);
    if (status == CSAE_OK) status = needs(&m->W_dec, "W_dec", error);
    if (status == CSAE_OK && given == NULL) status = needs(&m->W_enc, "W_enc", error);
    if (status == CSAE_OK) status = check_k(candidates, m->h, error);
    if (status == CSAE_OK) status = check_k(k, candidates, error);
    if (status == CSAE_OK) status = check_flagged_rows(x, m->d, flags, error);
    if (status == CSAE_OK && given != NULL)
        status = check_codes((const uint8_t *)given, NULL, m->dtype, x.n, candidates, m->h, CSAE_DOMAIN_ERROR, error);
    if (status != CSAE_OK) return status;
    return overflow(IS_F32(m->dtype) ? refine_f32(m, x, k, candidates, given, indices, values, workspace)
                                     : refine_f64(m, x, k, candidates, given, indices, values, workspace),
                    error);
}

static csae_status check_dtype(csae_dtype expected, csae_dtype dtype, csae_error *error) {
    if (expected == dtype) return CSAE_OK;
    return fail(error, CSAE_DOMAIN_ERROR, -1, "expected values of %s, got %s; convert them",
                IS_F32(expected) ? "float32" : "float64", IS_F32(dtype) ? "float32" : "float64");
}

csae_status csae_decode(const csae_model *m, csae_code_rows codes, void *x_hat, void *workspace, csae_error *error) {
    uint8_t *at = workspace;
    csae_status status = NEED(codes.n, "model codes.indices codes.values x_hat workspace", m, codes.indices,
                              codes.values, x_hat, workspace);
    if (status == CSAE_OK) status = needs(&m->W_dec, "W_dec", error);
    if (status == CSAE_OK) status = check_code_rows(codes, m->h, error);
    if (status == CSAE_OK) status = check_dtype(m->dtype, codes.dtype, error);
    if (status == CSAE_OK) status = check_same_model(codes.model, m->digest, error);
    if (status != CSAE_OK) return status;
    if (IS_F32(m->dtype)) decode_rows_f32(m, codes, x_hat, carve(&at, m->d * sizeof(float)));
    else decode_rows_f64(m, codes, x_hat, carve(&at, m->d * sizeof(double)));
    return done(error);
}

csae_status csae_abs_topk(csae_dtype dtype, const void *pre, const int32_t *from, size_t h, size_t k, int32_t *indices,
                          void *values, csae_error *error) {
    csae_status status = NEED(1, "pre indices values", pre, indices, values);
    if (status == CSAE_OK) status = check_known(dtype, error);
    if (status == CSAE_OK) status = check_k(k, h, error);
    if (status != CSAE_OK) return status;
    if (IS_F32(dtype)) abs_topk_f32(pre, from, h, k, indices, values);
    else abs_topk_f64(pre, from, h, k, indices, values);
    return done(error);
}

/* -- packed codes -- */

static csae_status check_bits(size_t h, size_t k, unsigned bits, csae_status kind, csae_error *error) {
    if (csae_packed_bytes(h, k, bits) > 0) return CSAE_OK;
    return fail(error, kind, -1, "expected 4, 5, 6 or 8 bits and k from 1 to h = %llu, got %u bits and k = %llu",
                (unsigned long long)h, bits, (unsigned long long)k);
}

static csae_status malformed(int64_t row, csae_error *error) {
    return fail(error, CSAE_FORMAT_ERROR, row,
                "expected packed codes, got bytes that packing cannot produce in row %lld", (long long)row);
}

csae_status csae_pack(csae_code_rows codes, unsigned bits, uint8_t *packed, csae_error *error) {
    csae_status status = CSAE_OK;
    if (codes.n > 0) status = NEED(1, "codes.indices codes.values packed", codes.indices, codes.values, packed);
    if (status == CSAE_OK) status = check_bits(codes.h, codes.k, bits, CSAE_DOMAIN_ERROR, error);
    if (status == CSAE_OK) status = check_code_rows(codes, codes.h, error);
    if (status != CSAE_OK) return status;
    size_t width = csae_packed_bytes(codes.h, codes.k, bits), k = codes.k;
    for (size_t i = 0; i < codes.n; i++) {
        if (IS_F32(codes.dtype))
            pack_row_f32(codes.indices + i * k, (const float *)codes.values + i * k, codes.h, k, bits,
                         packed + i * width);
        else
            pack_row_f64(codes.indices + i * k, (const double *)codes.values + i * k, codes.h, k, bits,
                         packed + i * width);
    }
    return done(error);
}

static int unpack_values(Bytes row, size_t width, size_t h, size_t k, unsigned bits, int32_t *indices, float *values) {
    int zero; /* the stored values go to the end of the row's values, and are replaced from the start */
    uint8_t *stored = (uint8_t *)(values + k) - k;
    int sound = unpack_row(row, width, h, k, low_bits(h, k), bits, indices, stored, &zero);
    for (size_t t = 0; t < k && sound; t++) {
        float value = zero ? 0.0f : unpacked_value(stored[t], bits);
        memcpy(values + t, &value, sizeof value);
    }
    return sound;
}

csae_status csae_unpack(const uint8_t *packed, size_t n, size_t width, size_t h, size_t k, unsigned bits,
                        int32_t *indices, float *values, csae_error *error) {
    csae_status status = check_build(error);
    if (status == CSAE_OK && n > 0) status = NEED(1, "packed indices values", packed, indices, values);
    if (status == CSAE_OK) status = check_bits(h, k, bits, CSAE_DOMAIN_ERROR, error);
    if (status != CSAE_OK) return status;
    if (width != csae_packed_bytes(h, k, bits))
        return fail(error, CSAE_SHAPE_ERROR, -1, "expected rows of %llu bytes, got %llu",
                    (unsigned long long)csae_packed_bytes(h, k, bits), (unsigned long long)width);
    for (size_t i = 0; i < n; i++)
        if (!unpack_values((Bytes){packed + i * width, (n - i) * width}, width, h, k, bits, indices + i * k,
                           values + i * k))
            return malformed((int64_t)i, error);
    return done(error);
}

/* -- codes of items -- */

static csae_status check_packed(const csae_codes *c, csae_error *error) { /* R20 */
    size_t room = c->k * (sizeof(int32_t) + sizeof(float));
    int32_t *indices = CSAE_MALLOC(room);
    int64_t wrong = -1;
    if (indices == NULL) return out_of_memory(error, room);
    for (size_t i = 0; i < c->n && wrong < 0; i++)
        if (!unpack_values((Bytes){c->packed + i * c->width, (c->n - i) * c->width}, c->width, c->h, c->k, c->bits,
                           indices, (float *)(indices + c->k)))
            wrong = (int64_t)i;
    CSAE_FREE(indices);
    return wrong < 0 ? CSAE_OK : malformed(wrong, error);
}

static csae_status read_sizes(Json meta, csae_codes *c, csae_error *error) {
    csae_status status = integer(meta, "n_latents", INT32_MAX, &c->h, error);
    if (status == CSAE_OK) status = integer(meta, "k", c->h, &c->k, error);
    return status == CSAE_OK ? model_of(meta, &c->model, error) : status;
}

static csae_status read_packed_codes(csae_codes *c, Json meta, csae_error *error) {
    Array packed;
    size_t bits = 0;
    csae_status status = read_sizes(meta, c, error);
    if (status == CSAE_OK) status = integer(meta, "bits", 8, &bits, error);
    if (status == CSAE_OK) status = check_bits(c->h, c->k, (unsigned)bits, CSAE_FORMAT_ERROR, error);
    if (status == CSAE_OK) status = find_array(c->file.bytes, "packed", "|u1", 2, 1, &packed, error);
    if (status != CSAE_OK) return status;
    c->dtype = CSAE_FLOAT32;
    c->bits = (unsigned)bits;
    c->width = csae_packed_bytes(c->h, c->k, c->bits);
    c->n = (size_t)packed.shape[0];
    c->packed = packed.raw.at;
    status = expect_shape(&packed, "packed", c->n, c->width, error);
    return status == CSAE_OK ? check_packed(c, error) : status;
}

static csae_status read_plain_codes(csae_codes *c, Json meta, csae_error *error) {
    Array data, indices, indptr, shape;
    Bytes file = c->file.bytes;
    csae_status status = read_sizes(meta, c, error);
    if (status == CSAE_OK) status = find_array(file, "data", "<f4 <f8", 1, 1, &data, error);
    if (status == CSAE_OK) status = find_array(file, "indices", "<i4", 1, 1, &indices, error);
    if (status == CSAE_OK) status = find_array(file, "indptr", "<i4 <i8", 1, 1, &indptr, error);
    if (status == CSAE_OK) status = find_array(file, "shape", "<i8", 1, 1, &shape, error);
    if (status != CSAE_OK) return status;
    uint64_t n = indptr.shape[0] - 1, k = c->k;
    int sound = indptr.shape[0] > 0 && shape.shape[0] == 2 && number(shape.raw.at, 8) == n
                && number(shape.raw.at + 8, 8) == c->h;
    for (uint64_t i = 0; i <= n && sound; i++) sound = number(indptr.raw.at + i * indptr.width, indptr.width) == i * k;
    if (!sound || data.shape[0] != n * k || indices.shape[0] != n * k) /* n * k fits: it is the last number of indptr */
        return fail(error, CSAE_FORMAT_ERROR, -1,
                    "expected n rows of exactly k = %llu entries in shape, indptr, indices and data",
                    (unsigned long long)k);
    c->dtype = (csae_dtype)data.width;
    c->n = (size_t)n;
    c->indices = indices.raw.at;
    c->values = data.raw.at;
    return check_codes(c->indices, c->values, c->dtype, c->n, c->k, c->h, CSAE_FORMAT_ERROR, error);
}

static csae_status open_codes(csae_codes **codes, File file, csae_error *error) {
    csae_codes *c = CSAE_MALLOC(sizeof *c);
    Json meta;
    size_t version;
    if (c == NULL) {
        close_file(&file);
        return out_of_memory(error, sizeof *c);
    }
    *c = (csae_codes){.file = file};
    csae_status status = check_build(error);
    if (status == CSAE_OK) {
        if (read_meta(file.bytes, "compressae-packed", 1, &meta, &version, NULL) == CSAE_OK)
            status = read_packed_codes(c, meta, error);
        else if ((status = read_meta(file.bytes, "compressae-codes", 1, &meta, &version, error)) == CSAE_OK)
            status = read_plain_codes(c, meta, error);
    }
    if (status == CSAE_OK) *codes = c;
    else csae_close_codes(c);
    return status == CSAE_OK ? done(error) : status;
}

csae_status csae_open_codes(csae_codes **codes, const char *path, csae_error *error) {
    File file;
    csae_status status = NEED(1, "codes path", codes, path);
    if (codes != NULL) *codes = NULL;
    if (status == CSAE_OK) status = open_file(&file, path, error);
    return status != CSAE_OK ? status : with_path(error, path, open_codes(codes, file, error));
}

csae_status csae_open_codes_bytes(csae_codes **codes, const void *data, size_t size, csae_error *error) {
    csae_status status = NEED(size, "codes data", codes, data);
    if (codes != NULL) *codes = NULL;
    return status != CSAE_OK ? status : open_codes(codes, (File){{data, size}, NULL, 0}, error);
}

static csae_status keep_codes(csae_codes **codes, csae_codes made, const char *model, csae_error *error) {
    csae_codes *c = CSAE_MALLOC(sizeof *c);
    size_t length = model == NULL ? 0 : strlen(model) + 1;
    made.model = model == NULL ? NULL : CSAE_MALLOC(length);
    if (c == NULL || (model != NULL && made.model == NULL)) {
        CSAE_FREE(c);
        CSAE_FREE(made.model);
        return out_of_memory(error, sizeof *c + length);
    }
    if (model != NULL) memcpy(made.model, model, length);
    *c = made;
    *codes = c;
    return done(error);
}

csae_status csae_make_codes(csae_codes **codes, csae_code_rows rows, csae_error *error) {
    csae_status status = NEED(rows.n, "codes rows.indices rows.values", codes, rows.indices, rows.values);
    if (codes != NULL) *codes = NULL;
    if (status == CSAE_OK) status = check_code_rows(rows, rows.h, error);
    if (status != CSAE_OK) return status;
    csae_codes made = {.dtype = rows.dtype,
                       .n = rows.n,
                       .k = rows.k,
                       .h = rows.h,
                       .indices = (const uint8_t *)rows.indices,
                       .values = rows.values};
    return keep_codes(codes, made, rows.model, error);
}

csae_status csae_make_packed_codes(csae_codes **codes, const uint8_t *packed, size_t n, size_t h, size_t k,
                                   unsigned bits, const char *model, csae_error *error) {
    csae_status status = NEED(n, "codes packed", codes, packed);
    if (codes != NULL) *codes = NULL;
    if (status == CSAE_OK) status = check_build(error);
    if (status == CSAE_OK) status = check_bits(h, k, bits, CSAE_DOMAIN_ERROR, error);
    if (status != CSAE_OK) return status;
    csae_codes made = {.dtype = CSAE_FLOAT32,
                       .n = n,
                       .k = k,
                       .h = h,
                       .bits = bits,
                       .width = csae_packed_bytes(h, k, bits),
                       .packed = packed};
    status = check_packed(&made, error);
    return status == CSAE_OK ? keep_codes(codes, made, model, error) : status;
}

void csae_close_codes(csae_codes *codes) {
    if (codes == NULL) return;
    close_file(&codes->file);
    CSAE_FREE(codes->model);
    CSAE_FREE(codes);
}

csae_codes_info csae_describe_codes(const csae_codes *c) {
    if (c == NULL) return (csae_codes_info){.packed = NULL};
    return (csae_codes_info){c->dtype, c->n, c->k, c->h, c->bits, c->packed, c->model};
}

csae_status csae_read_codes(const csae_codes *c, size_t first, size_t n, int32_t *indices, void *values,
                            csae_error *error) {
    csae_status status = NEED(n, "codes indices values", c, indices, values);
    if (status != CSAE_OK) return status;
    if (first > c->n || n > c->n - first)
        return fail(error, CSAE_DOMAIN_ERROR, -1, "expected rows below %llu, got %llu rows from row %llu",
                    (unsigned long long)c->n, (unsigned long long)n, (unsigned long long)first);
    if (c->packed != NULL)
        return csae_unpack(c->packed + first * c->width, n, c->width, c->h, c->k, c->bits, indices, values, error);
    for (size_t i = 0; i < n; i++) {
        if (IS_F32(c->dtype)) {
            reader_f32 reader = start_reader_f32(c, indices + i * c->k, (float *)values + i * c->k, NULL);
            read_row_f32(&reader, first + i);
        } else {
            reader_f64 reader = start_reader_f64(c, indices + i * c->k, (double *)values + i * c->k, NULL);
            read_row_f64(&reader, first + i);
        }
    }
    return done(error);
}

/* -- search -- */

size_t csae_index_workspace_bytes(const csae_index *index) {
    if (index == NULL) return 0;
    return IS_F32(index->dtype) ? search_bytes_f32(index) : search_bytes_f64(index);
}

static csae_status measure(csae_index *index, csae_error *error) {
    size_t room = csae_index_workspace_bytes(index), bytes = index->codes->n * index->dtype;
    void *workspace = CSAE_MALLOC(room);
    index->norms = CSAE_MALLOC(bytes + 1);
    int64_t wrong = -1;
    if (workspace == NULL || index->norms == NULL) {
        CSAE_FREE(workspace);
        return out_of_memory(error, bytes + room);
    }
    if (IS_F32(index->dtype)) wrong = measure_items_f32(index, index->norms, workspace);
    else wrong = measure_items_f64(index, index->norms, workspace);
    CSAE_FREE(workspace);
    return wrong < 0 ? CSAE_OK : malformed(wrong, error);
}

csae_status csae_make_index(csae_index **index, const csae_model *model, const csae_codes *codes, csae_space space,
                            csae_error *error) {
    csae_status status = NEED(1, "index codes", index, codes);
    if (index != NULL) *index = NULL;
    if (status == CSAE_OK) status = check_build(error);
    if (status == CSAE_OK && (unsigned)space > CSAE_ASYMMETRIC)
        status = fail(error, CSAE_DOMAIN_ERROR, -1,
                      "expected CSAE_SPARSE, CSAE_RECONSTRUCTED or CSAE_ASYMMETRIC, got space %d", (int)space);
    if (status == CSAE_OK && space != CSAE_SPARSE && model == NULL)
        status = fail(error, CSAE_ARGUMENT_ERROR, -1,
                      "expected a pointer as model, got NULL; only sparse space needs none");
    if (status == CSAE_OK && space != CSAE_SPARSE) status = needs(&model->W_dec, "W_dec", error);
    if (status == CSAE_OK && model != NULL && model->h != codes->h)
        status = fail(error, CSAE_SHAPE_ERROR, -1, "expected codes of h = %llu latents, got %llu",
                      (unsigned long long)model->h, (unsigned long long)codes->h);
    if (status == CSAE_OK && model != NULL) status = check_same_model(model->digest, codes->model, error);
    if (status != CSAE_OK) return status;
    csae_index *i = CSAE_MALLOC(sizeof *i);
    if (i == NULL) return out_of_memory(error, sizeof *i);
    *i = (csae_index){model, codes, space, model == NULL ? codes->dtype : model->dtype, NULL};
    status = measure(i, error);
    if (status == CSAE_OK) *index = i;
    else csae_close_index(i);
    return status == CSAE_OK ? done(error) : status;
}

void csae_close_index(csae_index *index) {
    if (index == NULL) return;
    CSAE_FREE(index->norms);
    CSAE_FREE(index);
}

static csae_status check_query(const csae_model *m, csae_rows query, csae_error *error) {
    csae_status status = needs(&m->W_dec, "W_dec", error);
    if (status == CSAE_OK) status = check_queries(query, m->d, error);
    if (status == CSAE_OK && query.n != 1)
        status = fail(error, CSAE_SHAPE_ERROR, -1, "expected one query, got %llu", (unsigned long long)query.n);
    return status;
}

csae_status csae_query(const csae_model *m, csae_rows query, void *u, void *workspace, csae_error *error) {
    csae_status status = NEED(1, "model query.data u workspace", m, query.data, u, workspace);
    if (status == CSAE_OK) status = check_query(m, query, error);
    if (status != CSAE_OK) return status;
    if (IS_F32(m->dtype)) query_f32(m, query, u, workspace);
    else query_f64(m, query, u, workspace);
    return done(error);
}

static csae_status packed_row(const csae_model *m, Packed item, void *result, const void *u, const void *norm,
                              void *workspace, const char *names, csae_error *error) {
    csae_status status = NEED(1, names, m, item.packed, result, workspace);
    if (status == CSAE_OK) status = needs(&m->W_dec, "W_dec", error);
    if (status == CSAE_OK) status = check_bits(m->h, item.k, item.bits, CSAE_DOMAIN_ERROR, error);
    if (status != CSAE_OK) return status;
    int sound = IS_F32(m->dtype) ? packed_row_f32(m, item, result, u, norm, workspace)
                                 : packed_row_f64(m, item, result, u, norm, workspace);
    return sound ? done(error) : malformed(0, error);
}

csae_status csae_packed_norm(const csae_model *m, const uint8_t *packed, size_t k, unsigned bits, void *norm,
                             void *workspace, csae_error *error) {
    return packed_row(m, (Packed){packed, k, bits}, norm, NULL, NULL, workspace, "model packed norm workspace", error);
}

csae_status csae_packed_score(const csae_model *m, const void *u, const uint8_t *packed, size_t k, unsigned bits,
                              const void *norm, void *score, void *workspace, csae_error *error) {
    csae_status status = NEED(1, "u norm", u, norm);
    if (status != CSAE_OK) return status;
    return packed_row(m, (Packed){packed, k, bits}, score, u, norm, workspace, "model packed score workspace", error);
}

static csae_status run_search(const csae_index *index, csae_rows dense, const csae_code_rows *codes, size_t top,
                              int64_t *ids, void *scores, void *workspace, csae_error *error) {
    if (top < 1) return fail(error, CSAE_DOMAIN_ERROR, -1, "expected top of at least 1, got 0"); /* R10 */
    top = smaller(top, index->codes->n);
    if (top == 0 || (codes == NULL ? dense.n : codes->n) == 0) return done(error);
    csae_status status = NEED(1, "ids scores workspace", ids, scores, workspace);
    if (status != CSAE_OK) return status;
    if (IS_F32(index->dtype)) search_f32(index, dense, codes, top, ids, scores, workspace);
    else search_f64(index, dense, codes, top, ids, scores, workspace);
    return done(error);
}

csae_status csae_search(const csae_index *index, csae_rows queries, size_t top, int64_t *ids, void *scores,
                        void *workspace, csae_error *error) {
    csae_status status = NEED(queries.n, "index queries.data", index, queries.data);
    if (status != CSAE_OK) return status;
    if (index->space != CSAE_ASYMMETRIC)
        return fail(error, CSAE_DOMAIN_ERROR, -1, "expected an index in asymmetric space for dense queries");
    status = check_queries(queries, index->model->d, error);
    return status == CSAE_OK ? run_search(index, queries, NULL, top, ids, scores, workspace, error) : status;
}

csae_status csae_search_codes(const csae_index *index, csae_code_rows queries, size_t top, int64_t *ids, void *scores,
                              void *workspace, csae_error *error) {
    csae_status status =
        NEED(queries.n, "index queries.indices queries.values", index, queries.indices, queries.values);
    if (status != CSAE_OK) return status;
    if (index->space == CSAE_ASYMMETRIC)
        return fail(error, CSAE_DOMAIN_ERROR, -1,
                    "expected an index in sparse or reconstructed space for queries that are codes");
    status = check_code_rows(queries, index->codes->h, error);
    if (status == CSAE_OK) status = check_dtype(index->dtype, queries.dtype, error);
    if (status == CSAE_OK) status = check_same_model(index->codes->model, queries.model, error);
    if (status == CSAE_OK && index->model != NULL)
        status = check_same_model(index->model->digest, queries.model, error);
    return status == CSAE_OK
               ? run_search(index, (csae_rows){NULL, queries.dtype, 0, 0}, &queries, top, ids, scores, workspace, error)
               : status;
}

#else
/* REAL is float or double, and F(name) is name_f32 or name_f64. Every sum has the order that spec/compressae.md states.
 */

static int F(computes_other_bits)(void) { /* a fused multiply-add, or subnormal numbers that become zero */
    volatile REAL above = 1 + ULP, below = 1 - ULP, minus = -1,
                  tiny = sizeof(REAL) == 4 ? (REAL)FLT_MIN : (REAL)DBL_MIN;
    REAL a = above, b = below, c = minus;
    volatile REAL half = tiny / 2;
    return a * b + c != 0 || half == 0;
}

/* -- 1. Sums -- */

static void F(add)(REAL *restrict to, const REAL *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = to[i] + from[i];
}

static void F(add_scaled)(REAL *restrict to, REAL factor, const REAL *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = to[i] + factor * from[i];
}

static void F(scale)(REAL *numbers, REAL factor, size_t n) {
    for (size_t i = 0; i < n; i++) numbers[i] = numbers[i] * factor;
}

static void F(divide)(REAL *numbers, REAL divisor, size_t n) {
    for (size_t i = 0; i < n; i++) numbers[i] = numbers[i] / divisor;
}

static void F(multiply)(REAL *products, const REAL *a, const REAL *b, size_t n) {
    for (size_t i = 0; i < n; i++) products[i] = a[i] * b[i];
}

static REAL F(fold_sum)(REAL *terms, size_t d) { /* E1; terms are overwritten */
    for (; d > 16 && d % 2 == 0; d /= 2) F(add)(terms, terms + d / 2, d / 2);
    REAL total = terms[0];
    for (size_t c = 1; c < d; c++) total = total + terms[c];
    return total;
}

static REAL F(dot)(const REAL *a, const REAL *b, size_t d, REAL *terms) { /* E2 */
    F(multiply)(terms, a, b, d);
    return F(fold_sum)(terms, d);
}

static REAL F(norm)(const REAL *a, size_t d, REAL *terms) { return SQRT(F(dot)(a, a, d, terms)); }

static REAL F(clamped)(REAL norm) { return norm > (REAL)1e-8 ? norm : (REAL)1e-8; } /* R6 */

static REAL F(code_norm)(const REAL *values, size_t k) { /* section 8 */
    REAL total = 0;
    for (size_t t = 0; t < k; t++) total = total + values[t] * values[t];
    return F(clamped)(SQRT(total));
}

/* -- weights, from the bytes of the file -- */

/* A row of a matrix, decoded (E64). */
static void F(weights_row)(const Weights *w, size_t row, REAL *restrict out) {
    size_t n = w->columns;
#if REAL_IS_DOUBLE
    memcpy(out, w->at + 8 * row * n, 8 * n);
#else
    const uint8_t *at = w->at + bytes_of(w->kind) * row * n;
    const float *restrict scales = w->scales;
    if (w->kind == STORED_F32) memcpy(out, at, 4 * n);
    if (w->kind == STORED_F16)
        for (size_t i = 0; i < n; i++) out[i] = load_f16(at, i);
    if (w->kind != STORED_I8) return;
    for (size_t i = 0; i < n; i++) out[i] = (float)(int8_t)at[i];
    if (w->latents_are_rows) F(scale)(out, scales[row], n);
    else F(multiply)(out, out, scales, n);
#endif
}

/* Terms of E1 for n neighbouring latents, in the order in which they are folded. `rows` are where their weights start
 * in the rows c, c + d/2, c + d/4 and c + 3d/4 of W_enc. The terms of the first row alone, or the sums of all four. */
#define TERMS(name, WEIGHT) \
    static void F(one_term_##name)(const REAL *x, const uint8_t *const *rows, const float *restrict scales, size_t n, \
                                   REAL *restrict out) { \
        const uint8_t *at = rows[0]; \
        REAL x0 = x[0]; \
        (void)scales; \
        for (size_t i = 0; i < n; i++) out[i] = x0 * WEIGHT(at); \
    } \
    static void F(four_terms_##name)(const REAL *x, const uint8_t *const *rows, const float *restrict scales, \
                                     size_t n, REAL *restrict out) { \
        const uint8_t *a0 = rows[0], *a1 = rows[1], *a2 = rows[2], *a3 = rows[3]; \
        REAL x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3]; \
        (void)scales; \
        for (size_t i = 0; i < n; i++) \
            out[i] = (x0 * WEIGHT(a0) + x1 * WEIGHT(a1)) + (x2 * WEIGHT(a2) + x3 * WEIGHT(a3)); \
    }
typedef void F(Terms)(const REAL *, const uint8_t *const *, const float *restrict, size_t, REAL *restrict);
#define AS_F64(at) load_f64(at, i)
#define AS_F32(at) load_f32(at, i)
#define AS_F16(at) load_f16(at, i)
#define AS_I8(at) ((float)(int8_t)(at)[i] * scales[i])
#if REAL_IS_DOUBLE
TERMS(f64, AS_F64)
#else
TERMS(f32, AS_F32)
TERMS(f16, AS_F16)
TERMS(i8, AS_I8)
#endif
#undef TERMS

static F(Terms) *F(terms_of)(Stored kind, int four) {
#if REAL_IS_DOUBLE
    (void)kind;
    return four ? F(four_terms_f64) : F(one_term_f64);
#else
    if (kind == STORED_F16) return four ? F(four_terms_f16) : F(one_term_f16);
    if (kind == STORED_I8) return four ? F(four_terms_i8) : F(one_term_i8);
    return four ? F(four_terms_f32) : F(one_term_f32);
#endif
}

static size_t F(piece_size)(size_t d) { /* of the memory for column_dots() */
    size_t leaves = 1;
    for (; d > 16 && d % 2 == 0; d /= 2) leaves *= 2;
    return sizeof(REAL) * LATENTS_PER_PIECE * leaves;
}

/* E2, for the latents first to first + n - 1 at once: sums[i] = dot(row, column first + i of W_enc).
 *
 * The fold of E1 leaves `left` numbers. Number p is a tree over the terms p, p + left, p + 2 left, ...; each tree is
 * folded in `piece` (leaves, n). Then the numbers are added from left to right. */
static void F(column_dots)(const Weights *w, const REAL *row, size_t first, size_t n, REAL *piece, REAL *sums) {
    size_t d = w->rows, left = d, leaves = 1, width = bytes_of(w->kind);
    for (; left > 16 && left % 2 == 0; left /= 2) leaves *= 2;
    size_t terms = leaves >= 4 ? 4 : 1, quarter = d / 4, nodes = leaves / terms;
    F(Terms) *compute = F(terms_of)(w->kind, terms == 4);
    for (size_t p = 0; p < left; p++) {
        for (size_t node = 0; node < nodes; node++) {
            REAL x[4];
            const uint8_t *rows[4];
            for (size_t i = 0; i < terms; i++) {
                size_t c = p + node * left + (i % 2 * 2 + i / 2) * quarter; /* the halves meet first: 0, 2, 1, 3 */
                x[i] = row[c];
                rows[i] = w->at + (c * w->columns + first) * width;
            }
            compute(x, rows, w->scales == NULL ? NULL : w->scales + first, n, piece + node * n);
        }
        for (size_t half = nodes / 2; half > 0; half /= 2) F(add)(piece, piece + half * n, half * n);
        if (p == 0) memcpy(sums, piece, n * sizeof(REAL));
        else F(add)(sums, piece, n);
    }
}

/* -- 2. Unit rows -- */

static void F(scale_to_unit)(REAL *x, size_t d, REAL *terms) { /* E3 */
    REAL largest = 0;
    int exponent;
    for (size_t c = 0; c < d; c++) largest = FABS(x[c]) > largest ? FABS(x[c]) : largest;
    frexp((double)largest, &exponent);
#if REAL_IS_DOUBLE
    for (size_t c = 0; c < d; c++) x[c] = ldexp(x[c], -exponent);
#else
    double factor = ldexp(1.0, -exponent); /* the product is exact, and is rounded once */
    for (size_t c = 0; c < d; c++) x[c] = (float)((double)x[c] * factor);
#endif
    REAL length = F(norm)(x, d, terms);
    F(divide)(x, length, d);
}

/* E3, or E26 with a mean. A zero row gives zeros and returns true. `scratch` has room for 2d doubles. */
static int F(unit_row)(csae_rows x, size_t i, const REAL *mean, REAL *x_unit, double *scratch) {
    size_t d = x.d;
    if (is_zero_row(x, i)) {
        for (size_t c = 0; c < d; c++) x_unit[c] = 0;
        return 1;
    }
    if (x.dtype == sizeof(REAL)) {
        memcpy(x_unit, (const REAL *)x.data + i * d, d * sizeof(REAL));
        F(scale_to_unit)(x_unit, d, (REAL *)scratch);
    } else { /* in the wider of the two */
        for (size_t c = 0; c < d; c++) scratch[c] = value_at(x.data, x.dtype, i * d + c);
        scale_to_unit_f64(scratch, d, scratch + d);
        for (size_t c = 0; c < d; c++) x_unit[c] = (REAL)scratch[c];
    }
    if (mean == NULL) return 0;
    for (size_t c = 0; c < d; c++) x_unit[c] = x_unit[c] - mean[c];
    F(scale_to_unit)(x_unit, d, (REAL *)scratch);
    return 0;
}

/* -- 3. Encoding -- */

static BITS F(magnitude)(REAL value) { /* ordered as |value| */
    BITS bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & ~((BITS)1 << (8 * sizeof bits - 1));
}

/* R1, R2. The k-th largest magnitude is found byte by byte, from the highest. */
static void F(abs_topk)(const REAL *pre, const int32_t *from, size_t h, size_t k, int32_t *indices, REAL *values) {
    BITS threshold = 0;
    size_t ties = k, t = 0;
    for (int shift = 8 * (int)sizeof(BITS) - 8; shift >= 0; shift -= 8) {
        uint32_t counts[256] = {0}, digit = 255;
        for (size_t j = 0; j < h; j++) {
            BITS magnitude = F(magnitude)(pre[j]) >> shift;
            if (magnitude >> 8 == threshold >> shift >> 8) counts[magnitude & 255]++;
        }
        for (; counts[digit] < ties; digit--) ties -= counts[digit];
        threshold |= (BITS)digit << shift;
    }
    for (size_t j = 0; j < h; j++) {
        BITS magnitude = F(magnitude)(pre[j]);
        if (magnitude < threshold || (magnitude == threshold && ties == 0)) continue;
        ties -= magnitude == threshold;
        indices[t] = from == NULL ? (int32_t)j : from[j];
        values[t++] = pre[j] + (REAL)0; /* -0 becomes +0 */
    }
}

static void F(empty_code)(size_t k, int32_t *indices, REAL *values) { /* R4 */
    for (size_t t = 0; t < k; t++) indices[t] = (int32_t)t, values[t] = 0;
}

static int F(are_finite)(const REAL *values, size_t k) {
    for (size_t t = 0; t < k; t++)
        if (!isfinite(values[t])) return 0;
    return 1;
}

/* The most that a function needs. */
static size_t F(workspace_bytes)(size_t d, size_t h) {
    return carved(2 * d * sizeof(double)) + 2 * carved(d * sizeof(REAL)) + 2 * carved(h * sizeof(REAL)) + carved(h)
           + carved(F(piece_size)(d));
}

/* E4 and E5 of checked rows. Returns the first row whose values overflow, or -1. */
static int64_t F(encode)(const csae_model *m, csae_rows x, size_t k, int32_t *indices, REAL *values,
                         uint8_t *workspace) {
    size_t d = m->d, h = m->h;
    double *scratch = carve(&workspace, 2 * d * sizeof(double));
    REAL *x_unit = carve(&workspace, d * sizeof(REAL)), *pre = carve(&workspace, h * sizeof(REAL));
    REAL *piece = carve(&workspace, F(piece_size)(d));
    for (size_t i = 0; i < x.n; i++, indices += k, values += k) {
        if (F(unit_row)(x, i, m->mean, x_unit, scratch)) {
            F(empty_code)(k, indices, values);
            continue;
        }
        for (size_t first = 0; first < h; first += LATENTS_PER_PIECE)
            F(column_dots)(&m->W_enc, x_unit, first, smaller(LATENTS_PER_PIECE, h - first), piece, pre + first);
        F(add)(pre, m->b_enc, h);
        F(abs_topk)(pre, NULL, h, k, indices, values);
        if (!F(are_finite)(values, k)) return (int64_t)i;
    }
    return -1;
}

static void F(unit_rows)(const csae_model *m, csae_rows x, REAL *x_unit, uint8_t *workspace) {
    double *scratch = carve(&workspace, 2 * m->d * sizeof(double));
    for (size_t i = 0; i < x.n; i++) F(unit_row)(x, i, m->mean, x_unit + i * m->d, scratch);
}

/* -- 4. Decoding -- */

/* E7; `atom` has room for d numbers */
static void F(decode)(const Weights *W_dec, const int32_t *indices, const REAL *values, size_t k, REAL *restrict x_hat,
                      REAL *restrict atom) {
    size_t d = W_dec->columns;
    for (size_t c = 0; c < d; c++) x_hat[c] = 0;
    for (size_t t = 0; t < k; t++) {
        F(weights_row)(W_dec, (size_t)indices[t], atom);
        F(add_scaled)(x_hat, values[t], atom, d);
    }
}

static void F(decode_rows)(const csae_model *m, csae_code_rows codes, REAL *x_hat, REAL *atom) {
    for (size_t i = 0; i < codes.n; i++) {
        const REAL *values = (const REAL *)codes.values + i * codes.k;
        F(decode)(&m->W_dec, codes.indices + i * codes.k, values, codes.k, x_hat + i * m->d, atom);
    }
}

/* -- refine.md -- */

static size_t F(refine_bytes)(const csae_model *m, size_t k, size_t candidates) {
    size_t d = m->d, used = carved(2 * d * sizeof(double)) + 2 * carved(d * sizeof(REAL))
                            + 2 * carved(candidates * sizeof(size_t));
    used += carved(candidates * sizeof(int32_t)) + 4 * carved(candidates * sizeof(REAL)) + carved(k * sizeof(REAL));
    return used + carved(candidates * d * sizeof(REAL)) + carved(k * candidates * sizeof(REAL))
           + F(workspace_bytes)(d, m->h);
}

typedef struct { /* of one row */
    size_t d, k, m, n_chosen;
    REAL *x_unit, *terms, *atoms, *p, *r, *new_p, *y, *values;
    size_t *chosen, *taken; /* taken: 0, 1 for a candidate that was tried, 2 for one that is stored */
} F(Pursuit);

static size_t F(next_candidate)(const F(Pursuit) *a) { /* R14; m if none is left */
    size_t best = a->m;
    for (size_t i = 0; i < a->m; i++)
        if (!a->taken[i] && (best == a->m || FABS(a->r[i]) > FABS(a->r[best]))) best = i;
    return best;
}

static void F(pursue)(F(Pursuit) *a) { /* E19 to E21 */
    size_t m = a->m, d = a->d;
    for (size_t i = 0; i < m; i++) a->r[i] = F(dot)(a->atoms + i * d, a->x_unit, d, a->terms), a->taken[i] = 0;
    for (size_t c; a->n_chosen < a->k && (c = F(next_candidate)(a)) < m;) {
        REAL *new_p = a->p + a->n_chosen * m;
        a->taken[c] = 1;
        for (size_t i = 0; i < m; i++) new_p[i] = F(dot)(a->atoms + i * d, a->atoms + c * d, d, a->terms);
        REAL square = new_p[c];
        for (size_t s = 0; s < a->n_chosen; s++) {
            const REAL *old = a->p + s * m;
            F(add_scaled)(new_p, -old[c], old, m); /* as subtracting old[c] times old */
        }
        if (!(new_p[c] > TOLERANCE * square)) continue; /* R15 */
        REAL root = SQRT(new_p[c]), y = a->r[c] / root;
        F(divide)(new_p, root, m);
        F(add_scaled)(a->r, -y, new_p, m);
        a->y[a->n_chosen] = y;
        a->chosen[a->n_chosen++] = c;
    }
}

static void F(solve)(F(Pursuit) *a, const int32_t *candidates, int32_t *indices, REAL *values) { /* E22, R16 */
    for (size_t i = 0; i < a->m; i++) a->taken[i] = 0, a->values[i] = 0;
    for (size_t t = a->n_chosen; t-- > 0;) {
        REAL total = a->y[t];
        for (size_t s = t + 1; s < a->n_chosen; s++)
            total = total - a->p[t * a->m + a->chosen[s]] * a->values[a->chosen[s]];
        a->values[a->chosen[t]] = total / a->p[t * a->m + a->chosen[t]];
        a->taken[a->chosen[t]] = 2;
    }
    size_t fillers = a->k - a->n_chosen, t = 0;
    for (size_t i = 0; i < a->m; i++) {
        if (!a->taken[i] && fillers == 0) continue;
        fillers -= !a->taken[i];
        indices[t] = candidates[i];
        values[t++] = a->values[i] + (REAL)0;
    }
}

/* Of checked rows. Returns as F(encode). */
static int64_t F(refine)(const csae_model *model, csae_rows x, size_t k, size_t m, const int32_t *candidates,
                         int32_t *indices, REAL *values, uint8_t *workspace) {
    size_t d = model->d;
    double *scratch = carve(&workspace, 2 * d * sizeof(double));
    int32_t *own = carve(&workspace, m * sizeof *own);
    F(Pursuit) a = {.d = d, .k = k, .m = m};
    a.x_unit = carve(&workspace, d * sizeof(REAL));
    a.terms = carve(&workspace, d * sizeof(REAL));
    a.atoms = carve(&workspace, m * d * sizeof(REAL));
    a.p = carve(&workspace, k * m * sizeof(REAL));
    a.r = carve(&workspace, m * sizeof(REAL));
    a.values = carve(&workspace, m * sizeof(REAL));
    a.y = carve(&workspace, k * sizeof(REAL));
    a.chosen = carve(&workspace, m * sizeof(size_t));
    a.taken = carve(&workspace, m * sizeof(size_t));
    for (size_t i = 0; i < x.n; i++, indices += k, values += k) {
        csae_rows row = {(const uint8_t *)x.data + i * d * x.dtype, x.dtype, 1, d};
        const int32_t *latents = candidates == NULL ? own : candidates + i * m;
        if (F(unit_row)(x, i, model->mean, a.x_unit, scratch)) {
            F(empty_code)(k, indices, values);
            continue;
        }
        if (candidates == NULL && F(encode)(model, row, m, own, a.values, workspace) >= 0) return (int64_t)i;
        for (size_t c = 0; c < m; c++) F(weights_row)(&model->W_dec, (size_t)latents[c], a.atoms + c * d);
        a.n_chosen = 0;
        F(pursue)(&a);
        F(solve)(&a, latents, indices, values);
        if (!F(are_finite)(values, k)) return (int64_t)i;
    }
    return -1;
}

/* -- packed.md -- */

static void F(pack_row)(const int32_t *indices, const REAL *values, size_t h, size_t k, unsigned bits,
                        uint8_t *packed) {
    unsigned low = low_bits(h, k), levels = 1u << (bits - 1);
    uint64_t start = k * (uint64_t)low, end = start + high_bits(h, k, low);
    REAL largest = 0;
    for (size_t t = 0; t < k; t++) largest = FABS(values[t]) > largest ? FABS(values[t]) : largest;
    memset(packed, 0, csae_packed_bytes(h, k, bits));
    for (size_t t = 0; t < k && largest > 0; t++) {
        REAL level = FLOOR(FABS(values[t]) / largest * (REAL)levels);
        unsigned q = level < (REAL)levels ? (unsigned)level : levels - 1;
        put_bits(packed, t * (uint64_t)low, low, (uint64_t)indices[t]);
        put_bits(packed, start + ((unsigned)indices[t] >> low) + t, 1, 1);
        put_bits(packed, end + t * (uint64_t)bits, bits, q + (values[t] < 0 ? levels : 0));
    }
}

/* -- 8. Search -- */

typedef struct { /* reads codes row by row into indices and values, in memory of the caller */
    const csae_codes *codes;
    unsigned low;
    REAL levels[256]; /* the values of packed codes */
    int32_t *indices;
    REAL *values;
    uint8_t *stored; /* (k,) */
    uint8_t *padded; /* a row of bytes, and 8 more */
} F(reader);

static F(reader) F(start_reader)(const csae_codes *codes, int32_t *indices, REAL *values, uint8_t *bytes) {
    F(reader) reader = {.codes = codes, .indices = indices, .values = values};
    if (codes->packed == NULL) return reader;
    reader.stored = bytes;
    reader.padded = bytes + codes->k;
    reader.low = low_bits(codes->h, codes->k);
    for (unsigned i = 0; i < 1u << codes->bits; i++) reader.levels[i] = (REAL)unpacked_value(i, codes->bits);
    return reader;
}

static void F(read_plain_row)(F(reader) *reader, size_t i) {
    const csae_codes *codes = reader->codes;
    size_t k = codes->k;
    memcpy(reader->indices, codes->indices + 4 * i * k, 4 * k);
    for (size_t t = 0; t < k; t++) {
        REAL value = codes->dtype == CSAE_FLOAT32 ? (REAL)load_f32(codes->values, i * k + t)
                                                  : (REAL)load_f64(codes->values, i * k + t);
        reader->values[t] = value + (REAL)0; /* R2 */
    }
}

static int F(read_row)(F(reader) *reader, size_t i) { /* false if the row is malformed */
    const csae_codes *codes = reader->codes;
    if (codes->packed == NULL) {
        F(read_plain_row)(reader, i);
        return 1;
    }
    Bytes row = {codes->packed + i * codes->width, (codes->n - i) * codes->width};
    int zero, sound = unpack_row(row, codes->width, codes->h, codes->k, reader->low, codes->bits, reader->indices,
                                 reader->stored, &zero);
    for (size_t t = 0; t < codes->k && sound; t++) reader->values[t] = zero ? 0 : reader->levels[reader->stored[t]];
    return sound;
}

/* The same for a row that read_row() accepted before: without checks, and several times as fast. */
static void F(read_known_row)(F(reader) *reader, size_t i) {
    const csae_codes *codes = reader->codes;
    size_t k = codes->k, width = codes->width, t = 0;
    if (codes->packed == NULL) {
        F(read_plain_row)(reader, i);
        return;
    }
    const uint8_t *row = codes->packed + i * width;
    const REAL *levels = reader->levels;
    int32_t *restrict indices = reader->indices;
    REAL *restrict values = reader->values;
    unsigned low = reader->low, bits = codes->bits;
    uint64_t start = k * (uint64_t)low, highs = high_bits(codes->h, k, low), low_at = 0, value_at = start + highs;
    if ((codes->n - i - 1) * width < 8) row = memcpy(reader->padded, row, width); /* eight bytes are read at once */
    for (uint64_t place = 0; place < highs; place += 56) {
        uint64_t word = bits_at(row, start + place, (unsigned)(highs - place < 56 ? highs - place : 56));
        for (; word != 0 && t < k; word &= word - 1, t++, low_at += low, value_at += bits) {
            uint64_t high = place + lowest_bit(word) - t;
            indices[t] = (int32_t)(high << low | bits_at(row, low_at, low));
            values[t] = levels[bits_at(row, value_at, bits)];
        }
    }
    if (t == 0) F(empty_code)(k, reader->indices, reader->values); /* R19 */
}

static REAL F(length_without_mean)(const REAL *x_hat, REAL norm, const REAL *mean, size_t d, REAL *terms) { /* E27 */
    REAL t = F(dot)(x_hat, mean, d, terms) / norm;
    REAL room = (REAL)1 - F(dot)(mean, mean, d, terms);
    REAL w = SQRT(t * t + room) + FABS(t);
    return t < 0 ? w : room / w;
}

/* What the dot products with an item are divided by: E15 to E17, E28. */
static REAL F(item_norm)(const csae_index *index, const int32_t *indices, const REAL *values, REAL *x_hat,
                         REAL *terms) {
    size_t k = index->codes->k;
    if (index->space == CSAE_SPARSE) return F(code_norm)(values, k);
    size_t d = index->model->d;
    F(decode)(&index->model->W_dec, indices, values, k, x_hat, terms);
    REAL norm = F(clamped)(F(norm)(x_hat, d, terms));
    return index->model->mean == NULL ? norm : norm / F(length_without_mean)(x_hat, norm, index->model->mean, d, terms);
}

static size_t F(search_bytes)(const csae_index *index) {
    size_t d = index->model == NULL ? 0 : index->model->d, h = index->codes->h, k = index->codes->k;
    return carved(2 * d * sizeof(double)) + carved(d * sizeof(REAL)) + carved(QUERIES_PER_PASS * h * sizeof(REAL))
           + carved(k * sizeof(int32_t)) + carved(k * sizeof(REAL)) + carved(k + index->codes->width + 8);
}

static int64_t F(measure_items)(const csae_index *index, REAL *norms,
                                uint8_t *workspace) { /* the first malformed row, or -1 */
    size_t d = index->model == NULL ? 0 : index->model->d, k = index->codes->k;
    REAL *x_hat = carve(&workspace, d * sizeof(REAL)), *terms = carve(&workspace, d * sizeof(REAL));
    int32_t *indices = carve(&workspace, k * sizeof *indices);
    REAL *values = carve(&workspace, k * sizeof(REAL));
    F(reader) reader = F(start_reader)(index->codes, indices, values, carve(&workspace, k + index->codes->width + 8));
    for (size_t i = 0; i < index->codes->n; i++) {
        if (!F(read_row)(&reader, i)) return (int64_t)i;
        norms[i] = F(item_norm)(index, indices, values, x_hat, terms);
    }
    return -1;
}

static REAL F(gather)(const REAL *u, const int32_t *indices, const REAL *values, size_t k) { /* E10 */
    REAL total = 0;
    for (size_t t = 0; t < k; t++) total = total + u[indices[t]] * values[t];
    return total;
}

typedef struct {
    int64_t *ids;
    REAL *scores;
    size_t n, top;
} F(Best); /* a heap; its root is the worst */

static int F(is_worse)(const F(Best) *best, size_t a, size_t b) { /* R10 */
    return best->scores[a] < best->scores[b] || (best->scores[a] == best->scores[b] && best->ids[a] > best->ids[b]);
}

static void F(swap)(F(Best) *best, size_t a, size_t b) {
    int64_t id = best->ids[a];
    REAL score = best->scores[a];
    best->ids[a] = best->ids[b], best->scores[a] = best->scores[b];
    best->ids[b] = id, best->scores[b] = score;
}

static void F(sink)(F(Best) *best, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && F(is_worse)(best, child + 1, child)) child++;
        if (!F(is_worse)(best, child, at)) return;
        F(swap)(best, at, child);
    }
}

static void F(offer)(F(Best) *best, int64_t id, REAL score) { /* ids come in ascending order */
    if (best->n == best->top) {
        if (!(score > best->scores[0])) return;
        best->ids[0] = id, best->scores[0] = score;
        F(sink)(best, 0, best->n);
        return;
    }
    size_t at = best->n++;
    best->ids[at] = id, best->scores[at] = score;
    for (; at > 0 && F(is_worse)(best, at, (at - 1) / 2); at = (at - 1) / 2) F(swap)(best, at, (at - 1) / 2);
}

static void F(sort)(F(Best) *best) { /* the best first */
    for (size_t n = best->n; n > 1; n--) {
        F(swap)(best, 0, n - 1);
        F(sink)(best, 0, n - 1);
    }
}

typedef struct {
    REAL *u, norm, added;
    F(Best) best;
} F(Query);

static void F(scan)(const csae_index *index, F(Query) *queries, size_t n_queries, F(reader) *reader) { /* E10 */
    size_t k = index->codes->k;
    const REAL *norms = index->norms;
    for (size_t i = 0; i < index->codes->n; i++) {
        F(read_known_row)(reader, i);
        for (size_t q = 0; q < n_queries; q++) {
            REAL total = F(gather)(queries[q].u, reader->indices, reader->values, k);
            F(offer)(&queries[q].best, (int64_t)i, total / (queries[q].norm * norms[i]));
        }
    }
    for (size_t q = 0; q < n_queries; q++) {
        F(sort)(&queries[q].best);
        if (index->space != CSAE_SPARSE && index->model->mean != NULL)
            for (size_t t = 0; t < queries[q].best.n; t++) queries[q].best.scores[t] += queries[q].added; /* E28 */
    }
}

typedef struct { /* memory for a query */
    double *scratch;
    REAL *row, *atom, *terms;
} F(Room);

static F(Room) F(make_room)(uint8_t **workspace, size_t d) { /* atom and terms lie in scratch after the row is read */
    F(Room) room = {.scratch = carve(workspace, 2 * d * sizeof(double))};
    room.row = carve(workspace, d * sizeof(REAL));
    room.atom = (REAL *)room.scratch;
    room.terms = (REAL *)(room.scratch + d);
    return room;
}

static void F(over_latents)(const Weights *W_dec, F(Room) *room, REAL *u) { /* E17, for room->row */
    for (size_t j = 0; j < W_dec->rows; j++) {
        F(weights_row)(W_dec, j, room->atom);
        u[j] = F(dot)(room->row, room->atom, W_dec->columns, room->terms);
    }
}

static REAL F(dot_with_mean)(const csae_model *m, F(Room) *room) { /* the second term of E28 */
    return m->mean == NULL ? 0 : F(dot)(room->row, m->mean, m->d, room->terms);
}

/* One row of a database at a time: the query of a checked row, and what its dot product with an item is divided by. */
static void F(query)(const csae_model *m, csae_rows x, REAL *u, uint8_t *workspace) {
    F(Room) room = F(make_room)(&workspace, m->d);
    F(unit_row)(x, 0, NULL, room.row, room.scratch);
    F(over_latents)(&m->W_dec, &room, u);
    u[m->h] = F(dot_with_mean)(m, &room);
}

/* The norm of an item, or its score if there is a query. False if its bytes are malformed. */
static int F(packed_row)(const csae_model *m, Packed item, REAL *result, const REAL *u, const REAL *norm,
                         uint8_t *workspace) {
    csae_codes codes = {.dtype = CSAE_FLOAT32, .n = 1, .k = item.k, .h = m->h, .bits = item.bits};
    csae_index index = {.model = m, .codes = &codes, .space = CSAE_ASYMMETRIC};
    codes.packed = item.packed;
    codes.width = csae_packed_bytes(m->h, item.k, item.bits);
    REAL *x_hat = carve(&workspace, m->d * sizeof(REAL)), *terms = carve(&workspace, m->d * sizeof(REAL));
    int32_t *indices = carve(&workspace, item.k * sizeof *indices);
    REAL *values = carve(&workspace, item.k * sizeof(REAL));
    F(reader) reader = F(start_reader)(&codes, indices, values, carve(&workspace, item.k));
    if (!F(read_row)(&reader, 0)) return 0;
    if (u == NULL) *result = F(item_norm)(&index, indices, values, x_hat, terms);
    else *result = F(gather)(u, indices, values, item.k) / *norm;
    return 1;
}

static void F(code_query)(const csae_index *index, F(Query) *query, const int32_t *indices, const REAL *values,
                          size_t k, F(Room) *room) {
    const csae_model *m = index->model;
    if (index->space == CSAE_SPARSE) { /* E15 */
        for (size_t j = 0; j < index->codes->h; j++) query->u[j] = 0;
        for (size_t t = 0; t < k; t++) query->u[indices[t]] = values[t];
        query->norm = F(code_norm)(values, k);
        return;
    }
    F(decode)(&m->W_dec, indices, values, k, room->row, room->atom); /* E16 */
    query->norm = F(clamped)(F(norm)(room->row, m->d, room->terms));
    if (m->mean != NULL) { /* E27, E28 */
        const REAL *mean = m->mean;
        REAL scale = F(length_without_mean)(room->row, query->norm, mean, m->d, room->terms) / query->norm;
        F(scale)(room->row, scale, m->d);
        F(add)(room->row, mean, m->d);
        query->norm = 1;
    }
    F(over_latents)(&m->W_dec, room, query->u);
    query->added = F(dot_with_mean)(m, room);
}

/* Of checked queries: dense rows, or codes if `codes` is not NULL. */
static void F(search)(const csae_index *index, csae_rows dense, const csae_code_rows *codes, size_t top, int64_t *ids,
                      REAL *scores, uint8_t *workspace) {
    size_t d = index->model == NULL ? 0 : index->model->d, h = index->codes->h, k = index->codes->k;
    size_t n = codes == NULL ? dense.n : codes->n;
    F(Room) room = F(make_room)(&workspace, d);
    REAL *u = carve(&workspace, QUERIES_PER_PASS * h * sizeof(REAL));
    int32_t *indices = carve(&workspace, k * sizeof *indices);
    REAL *values = carve(&workspace, k * sizeof(REAL));
    F(reader) reader = F(start_reader)(index->codes, indices, values, carve(&workspace, k + index->codes->width + 8));
    F(Query) queries[QUERIES_PER_PASS];
    for (size_t start = 0; start < n; start += QUERIES_PER_PASS) {
        size_t count = smaller(QUERIES_PER_PASS, n - start);
        for (size_t q = 0; q < count; q++) {
            size_t i = start + q;
            queries[q] = (F(Query)){u + q * h, 1, 0, {ids + i * top, scores + i * top, 0, top}};
            if (codes != NULL) {
                const REAL *code = (const REAL *)codes->values + i * codes->k;
                F(code_query)(index, &queries[q], codes->indices + i * codes->k, code, codes->k, &room);
            } else { /* E17; with the mean */
                F(unit_row)(dense, i, NULL, room.row, room.scratch);
                F(over_latents)(&index->model->W_dec, &room, queries[q].u);
                queries[q].added = F(dot_with_mean)(index->model, &room);
            }
        }
        F(scan)(index, queries, count, &reader);
    }
}
#endif
