/* CompresSAE 1.0 in C99, levels L0 to L2, to the bit: cc -std=c99 -O2 -ffp-contract=off -o port compressae.c -lm */
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint8_t *at; size_t size; } Bytes;
typedef struct { double *v; long rows, columns; size_t width; Bytes raw; } Array; /* a vector has 0 columns */
typedef union { uint64_t u64; int64_t i64; double f64; uint32_t u32; int32_t i32; float f32; } Word;
static int wide, n_outputs, n_owned; /* wide: whether r() leaves float64; the floats read last say so */
static void *owned[64];              /* memory, until the request is answered */
static const char *inputs;           /* of the request, as JSON */
static jmp_buf answered;

static void fail(const char *error, long row) { /* leaves the request */
    printf(row < 0 ? ",\"error\":\"%s\"" : ",\"error\":\"%s\",\"row\":%ld", error, row);
    longjmp(answered, 1);
}
static void must(int sound) { if (!sound) fail("FormatError", -1); } /* R12 */
static void *get(size_t count) { return owned[n_owned++] = calloc(count + 2, sizeof(double)); } /* and two */
static int is(const char *s, const char *t) { return s && !strncmp(s + 1, t, strlen(t)) && s[strlen(t) + 1] == *s; }

static const char *find(const char *at, const char *name) { /* a value in an object, or NULL; without a name, the end */
    const char *found = NULL, *text = NULL; /* of JSON it checks what it needs to find its way */
    for (int depth = 0;; at++) {
        must(*at != '\0' && strchr("\"{}[]:,+-.0123456789Eaeflnrstu \t\r\n", *at) != NULL);
        if (*at == '"') for (text = at++; *at != '"'; at++) must((unsigned char)*(at += *at == '\\') >= ' ');
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (name != NULL && depth == 1 && *at == ':' && is(text, name)) found = at + 1 + strspn(at + 1, " \t\r\n");
        if (depth == 0 && *at > ' ') return name == NULL ? at + 1 + strspn(at + 1, " \t\r\n") : found;
    }
}

static long whole(const char *object, const char *name, long most) { /* from 1 */
    const char *at = find(object, name), *end = "", *error = object == inputs ? "DomainError" : "FormatError";
    long number = at == NULL ? 0 : strtol(at, (char **)&end, 10);
    if (number < 1 || number > most || strspn(end, ",} \t\r\n") == 0) fail(error, -1);
    return number;
}

static uint64_t number(Bytes from, size_t start, size_t size) { /* little-endian: R11 */
    uint64_t bits = 0;
    must(start <= from.size && size <= from.size - start);
    while (size-- > 0) bits = bits << 8 | from.at[start + size];
    return bits;
}

static Array zeros(long n, long columns, size_t width) { return (Array){get(n * columns), n, columns, width, {0}}; }
static Array array(int kind, size_t width, const char *shape, Bytes raw) {
    size_t rows = 0, columns = 0, more, rank = sscanf(shape, "%10zu,%10zu,%1zu", &rows, &columns, &more);
    size_t count = rank < 1 ? raw.size / 4 : rows * (rank < 2 ? 1 : columns);
    must((kind == 'U' ? *shape == ')' : rank > 0) && rank < 3 && (rank < 2 || columns > 0) && rows <= raw.size);
    must(columns <= raw.size && count * width == raw.size && memchr(")]", shape[strspn(shape, "0123456789, ")], 2));
    Array a = {get(count), rows, columns, width, raw};
    for (size_t i = 0; i < count; i++) {
        Word word = {number(raw, i * width, width)}, low = {.u32 = (uint32_t)word.u64};
        a.v[i] = kind == 'i' ? (width == 4 ? low.i32 : (double)word.i64) : width == 4 ? low.f32 : word.f64;
        must(kind != 'f' || isfinite(a.v[i]));
    }
    if (kind != 'i') wide = width == 8;
    return a;
}

static Array input(const char *name) {
    const char *object = find(inputs, name);
    if (object == NULL || *object != '{') return (Array){0};
    const char *dtype = find(object, "dtype"), *shape = find(object, "shape"), *hex = find(object, "hex") + 1;
    Bytes raw = {get(strcspn(hex, "\"") / 16), strcspn(hex, "\"") / 2};
    for (size_t i = 0; i < 2 * raw.size; i++) raw.at[i / 2] = raw.at[i / 2] << 4 | ((hex[i] & 15) + (hex[i] > '9') * 9);
    return array(dtype[1] == 'I' ? 'i' : 'F', strtoul(dtype + 2, NULL, 10) / 8, shape + 1, raw);
}

static void put_array(const char *name, int kind, Array a) {
    printf("%s\"%s\":{\"dtype\":\"%c%d\",", n_outputs++ == 0 ? ",\"outputs\":{" : ",", name, kind, (int)a.width * 8);
    printf(a.columns == 0 ? "\"shape\":[%ld],\"hex\":\"" : "\"shape\":[%ld,%ld],\"hex\":\"", a.rows, a.columns);
    for (long i = 0; i < a.rows * (a.columns == 0 ? 1 : a.columns); i++) {
        Word word = {.f64 = a.v[i]}, low = {.f32 = (float)a.v[i]};
        uint64_t bits = kind == 'I' ? (uint64_t)a.v[i] : a.width == 4 ? low.u32 : word.u64;
        for (size_t byte = 0; byte < a.width; byte++) printf("%02x", (int)(bits >> 8 * byte & 255));
    }
    printf("\"}");
}

static double r(double x) { return wide ? x : (float)x; } /* 1. Sums: E1, E2 */
static double fold_sum(double *terms, long d) {
    double total = -0.0; /* adds nothing */
    for (; d > 16 && d % 2 == 0; d /= 2)
        for (long c = 0; c < d / 2; c++) terms[c] = r(terms[c] + terms[d / 2 + c]);
    for (long c = 0; c < d; c++) total = r(total + terms[c]);
    return total;
}

static double dot(const double *a, const double *b, long stride, long d) { /* a column of W_enc has a stride of h */
    double terms[d];
    for (long c = 0; c < d; c++) terms[c] = r(a[c] * b[c * stride]);
    return fold_sum(terms, d);
}
static double norm(const double *a, long d) { return r(sqrt(dot(a, a, 1, d))); }

static Array unit_rows(Array x, size_t width, int empty) { /* 2. Unit rows: E3, R3, R4; width: the model's */
    Array x_unit = zeros(x.rows, x.columns, width);
    wide = width == 8 || x.width == 8;
    for (long i = 0, d = x.columns; i < x.rows; i++) {
        double largest = 0.0, *row = x.v + i * d, *unit = x_unit.v + i * d;
        for (long c = 0; c < d; c++) largest = fmax(largest, isfinite(row[c]) ? fabs(row[c]) : INFINITY);
        if (largest == INFINITY || (largest == 0.0 && !empty)) fail("DomainError", i);
        for (long c = 0; c < d; c++) unit[c] = r(ldexp(row[c], -1 - ilogb(largest)));
        double length = norm(unit, d);
        for (long c = 0; c < d && length > 0; c++) unit[c] = width == 8 ? unit[c] / length : (float)r(unit[c] / length);
    }
    wide = width == 8;
    return x_unit;
}

static void abs_topk(Array pre, Array from) { /* 3. Encoding: R1, R2; from: the indices, if pre is values of codes */
    long n = pre.rows, h = pre.columns, k = whole(inputs, "k", h);
    Array indices = zeros(n, k, 4), values = zeros(n, k, pre.width);
    for (long i = 0, t = 0; i < n * h && t < n * k; i++) {
        double ahead = 0.0, own = fabs(pre.v[i]); /* selected is what fewer than k are ahead of */
        for (long j = i / h * h; j / h == i / h; j++) ahead += fabs(pre.v[j]) > own || (fabs(pre.v[j]) == own && j < i);
        if (ahead < k) indices.v[t] = from.v == NULL ? i % h : from.v[i];
        if (ahead < k) values.v[t++] = pre.v[i] + 0.0;
    }
    put_array("indices", 'I', indices); put_array("values", 'F', values);
}

static void encode(Array x, Array W_enc, Array b_enc) { /* E4, E5 */
    long n = x.rows, d = W_enc.rows, h = W_enc.columns;
    if (x.columns != d || b_enc.rows != h) fail("ShapeError", -1);
    Array x_unit = unit_rows(x, W_enc.width, is(find(inputs, "zero_rows"), "empty")), pre = zeros(n, h, W_enc.width);
    for (long i = 0; i < n; i++)
        if (norm(x_unit.v + i * d, d) > 0.0) /* R4 */
            for (long j = 0; j < h; j++) pre.v[i * h + j] = r(dot(x_unit.v + i * d, W_enc.v + j, h, d) + b_enc.v[j]);
    abs_topk(pre, (Array){0});
}

static Array decode(Array indices, Array values, Array W_dec) { /* 4. Decoding: E7 */
    Array x_hat = zeros(indices.rows, W_dec.columns, W_dec.width);
    for (long i = 0, k = indices.columns; i < indices.rows * k; i++)
        for (long c = 0, d = W_dec.columns, row = i / k * d; c < d; c++)
            x_hat.v[row + c] = r(x_hat.v[row + c] + r(values.v[i] * W_dec.v[(long)indices.v[i] * d + c]));
    return x_hat;
}

static double gather(const double *u, const double *indices, const double *values, long k) { /* 8. Search: E10, R6 */
    double total = 0.0;
    for (long t = 0; t < k; t++) total = r(total + r(u[indices == NULL ? t : (long)indices[t]] * values[t]));
    return total;
}

static double clamped_norm(const double *a, long count, int code) {
    return fmax(code ? r(sqrt(gather(a, NULL, a, count))) : norm(a, count), r(1e-8));
}

static void search(void) { /* E15: no W_dec; E16; E17: dense queries; R10, R13. Values are read last, for r() */
    Array indices = input("indices"), W_dec = input(is(find(inputs, "space"), "sparse") ? "" : "W_dec");
    Array queries = input("queries"), query_indices = input("query_indices"), values = input("values");
    Array query = input("query_values"), x_hat = W_dec.v ? decode(indices, values, W_dec) : values;
    const char *model = find(inputs, "model"), *other = find(inputs, "query_model");
    long n = values.rows, h = whole(inputs, "n_latents", INT32_MAX), top = fmin(n, whole(inputs, "top", INT32_MAX));
    if (model && other && *model == *other && strncmp(model, other, find(model, NULL) - model)) fail("DomainError", -1);
    if (queries.v && queries.columns != W_dec.columns) fail("ShapeError", -1);
    if (W_dec.v) query = queries.v ? unit_rows(queries, values.width, 0) : decode(query_indices, query, W_dec);
    Array ids = zeros(query.rows, top, 8), best = zeros(query.rows, top, values.width);
    double *u = get(h), *scores = get(n);
    for (long i = 0, k = values.columns, m = query.columns, d = x_hat.columns; i < query.rows; i++) {
        double *row = query.v + i * m, query_norm = queries.v ? 1.0 : clamped_norm(row, m, !W_dec.v);
        for (long j = 0; j < h; j++) u[j] = W_dec.v ? dot(row, W_dec.v + j * d, 1, d) : 0.0;
        for (long t = 0; t < m && !W_dec.v; t++) u[(long)query_indices.v[i * m + t]] = row[t];
        for (long j = 0; j < n; j++)
            scores[j] = r(gather(u, indices.v + j * k, values.v + j * k, k)
                          / r(query_norm * clamped_norm(x_hat.v + j * d, d, !W_dec.v)));
        for (long j = 0; j < n; j++) {
            long ahead = 0;
            for (long l = 0; l < n; l++) ahead += scores[l] > scores[j] || (scores[l] == scores[j] && l < j);
            if (ahead < top) { ids.v[i * top + ahead] = j; best.v[i * top + ahead] = scores[j]; }
        }
    }
    put_array("ids", 'I', ids); put_array("scores", 'F', best);
}

static Array stored(Bytes file, const char *name, int kind) { /* Files 1 and 2: the archive, and an array in it */
    Bytes found = {NULL, 0};
    size_t end = file.size - 4;
    while (number(file, end, 4) != 0x06054b50) must(end-- > 0);
    for (size_t count = number(file, end + 10, 2), at = number(file, end + 16, 4); count > 0; count--) {
        size_t local = number(file, at + 42, 4), size = number(file, at + 24, 4), length = number(file, at + 28, 2);
        size_t start = local + 30 + number(file, local + 26, 2) + number(file, local + 28, 2), crc = 0xffffffff;
        must(number(file, at, 4) == 0x02014b50 && number(file, at + 10, 2) == 0 && start + size <= file.size);
        for (size_t i = 0; i < 8 * size; i++) crc = crc >> 1 ^ (crc ^ file.at[start + i / 8] >> i % 8) % 2 * 0xedb88320;
        must(number(file, at + 16, 4) == (crc ^ 0xffffffff) && at + 46 + length <= file.size);
        if (length == strlen(name) && !memcmp(file.at + at + 46, name, length)) found = (Bytes){file.at + start, size};
        at += 46 + length + number(file, at + 30, 2) + number(file, at + 32, 2); must(count > 1 || at == end);
    }
    size_t start = 10 + number(found, 8, 2);
    must(start <= found.size && memcmp(found.at, "\x93NUMPY\1\0", 8) == 0);
    char *header = memcpy(get(start / 8), found.at + 10, start - 10);
    char *dtype = strstr(header, "'descr': '<"), *shape = strstr(header, "'shape': (");
    must(*header == '{' && dtype && dtype[11] == kind && shape && strstr(header, "'fortran_order': False"));
    size_t width = strtoul(dtype + 12, &dtype, 10), size = found.size - start;
    must(*dtype == '\'' && (kind == 'U' ? width == size / 4 : width == 4 || width == 8));
    return array(kind, kind == 'U' ? 4 : width, shape + 10, (Bytes){found.at + start, size});
}

static char *meta_of(Bytes file, const char *format) { /* what is not ASCII becomes a question mark */
    Bytes text = stored(file, "meta.npy", 'U').raw;
    char *meta = get(text.size / 32);
    for (size_t i = 0; i < text.size / 4; i++) {
        uint64_t character = number(text, 4 * i, 4);
        must(character > 0 && character < 0x110000 && (character < 0xd800 || character > 0xdfff));
        meta[i] = character < 128 ? (char)character : '?';
    }
    must(*find(meta, NULL) == '\0' && is(find(meta, "format"), format) && whole(meta, "version", 1));
    return meta;
}

static uint32_t rot(uint32_t x, int by) { return x >> by | x << (32 - by); }
static void sha256(uint8_t *message, size_t size, char *hex) { /* FIPS 180-4; the message has room for 72 bytes more */
    uint32_t K[64], H[64], W[64] = {0}, s[8], primes = 0, t;
    for (uint32_t p = 2, factor; primes < 64; p++) { /* fractions of the square and cube roots of the first primes */
        for (factor = 2; p % factor != 0;) factor++;
        H[primes] = (uint32_t)(fmod(sqrt(p), 1.0) * 4294967296.0);
        if (factor == p) K[primes++] = (uint32_t)(fmod(cbrt(p), 1.0) * 4294967296.0);
    }
    size_t end = (size + 72) / 64 * 64;
    message[size] = 0x80;
    for (int i = 0; i < 8; i++) message[end - 1 - i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
    for (const uint8_t *block = message; block < message + end; block += 64) {
        memcpy(s, H, sizeof s);
        for (int i = 0; i < 64; i++) W[i / 4] = W[i / 4] << 8 | block[i];
        for (int i = 0; i < 64; i++) {
            if (i > 15) W[i] = W[i - 16] + (rot(W[i - 15], 7) ^ rot(W[i - 15], 18) ^ W[i - 15] >> 3)
                             + W[i - 7] + (rot(W[i - 2], 17) ^ rot(W[i - 2], 19) ^ W[i - 2] >> 10);
            t = s[7] + (rot(s[4], 6) ^ rot(s[4], 11) ^ rot(s[4], 25)) + (s[6] ^ (s[4] & (s[5] ^ s[6]))) + K[i] + W[i];
            memmove(s + 1, s, 7 * sizeof *s); s[4] += t;
            s[0] = t + (rot(s[1], 2) ^ rot(s[1], 13) ^ rot(s[1], 22)) + ((s[1] & (s[2] | s[3])) | (s[2] & s[3]));
        }
        for (int i = 0; i < 8; i++) H[i] += s[i];
    }
    for (int i = 0; i < 8; i++) sprintf(hex + 8 * i, "%08lx", (unsigned long)H[i]);
}

static void read_model(Bytes file) { /* Files 3. The model file: E18 */
    static const char *const names[] = {"W_enc.npy", "b_enc.npy", "W_dec.npy"};
    const char *meta = meta_of(file, "compressae-model"), *dtype = find(meta, "dtype");
    long d = whole(meta, "d", INT32_MAX), h = whole(meta, "n_latents", INT32_MAX), k = whole(meta, "k", h);
    long rows[] = {d, h, h}, columns[] = {h, 0, d}; /* %.0ld prints 0 as nothing */
    char *message = get(file.size), *end = message, digest[65];
    Array a[3];
    for (int i = 0; i < 3; i++) {
        a[i] = stored(file, names[i], 'f');
        must(a[i].rows == rows[i] && a[i].columns == columns[i] && is(dtype, a[i].width == 4 ? "float32" : "float64"));
        end += sprintf(end, "%.5s <f%zu (%ld,%s%.0ld)\n", names[i], a[i].width, rows[i], i == 1 ? "" : " ", columns[i]);
        end = (char *)memcpy(end, a[i].raw.at, a[i].raw.size) + a[i].raw.size;
    }
    for (double *v = a[2].v; v < a[2].v + h * d; v += d) must(fabs(sqrt(gather(v, NULL, v, d)) - 1.0) <= 1e-3);
    sha256((uint8_t *)message, (size_t)(end - message), digest);
    must(is(find(meta, "digest"), digest) && find(meta, "training") && *find(meta, "training") == '{');
    put_array("W_enc", 'F', a[0]); put_array("b_enc", 'F', a[1]); put_array("W_dec", 'F', a[2]);
    printf(",\"k\":%ld,\"digest\":\"%s\"", k, digest);
}

static void read_codes(Bytes file) { /* Files 4. The codes file */
    const char *meta = meta_of(file, "compressae-codes"), *model = find(meta, "model");
    Array values = stored(file, "data.npy", 'f'), indices = stored(file, "indices.npy", 'i');
    Array indptr = stored(file, "indptr.npy", 'i'), shape = stored(file, "shape.npy", 'i');
    long h = whole(meta, "n_latents", INT32_MAX), k = whole(meta, "k", h), n = indptr.rows - 1;
    must(values.columns + indices.columns + indptr.columns + shape.columns == 0 && shape.rows == 2 && n >= 0);
    must(shape.v[0] == n && shape.v[1] == h && values.rows == n * k && indices.rows == n * k);
    must(indices.width == 4 && shape.width == 8 && model != NULL && (*model == '"' || !strncmp(model, "null", 4)));
    for (long i = 0; i <= n; i++) must(indptr.v[i] == i * k);
    for (long i = 0; i < n * k; i++) must(indices.v[i] < h && indices.v[i] > (i % k == 0 ? -1 : indices.v[i - 1]));
    for (long i = 0; i < n * k; i++) values.v[i] += 0.0; /* R2 */
    put_array("indices", 'I', (Array){indices.v, n, k, 4, {0}});
    put_array("values", 'F', (Array){values.v, n, k, values.width, {0}});
    printf(",\"n_latents\":%ld,\"model\":%.*s", h, (int)(*model == 'n' ? 4 : find(model, NULL) - model), model);
}

int main(void) {
    static char line[1 << 26]; /* the longest request has 25 MB */
    for (setvbuf(stdout, NULL, _IOLBF, BUFSIZ); fgets(line, sizeof line, stdin) != NULL; n_outputs = 0) {
        const char *id = find(line, "id"), *op = find(line, "operation");
        printf("{\"id\":%.*s", (int)(find(id, NULL) - id), id);
        inputs = find(line, "inputs");
        if (setjmp(answered) != 0) fflush(stdout); /* by fail() */
        else if (is(op, "abs_topk")) abs_topk(input("pre"), (Array){0});
        else if (is(op, "truncate")) abs_topk(input("values"), input("indices"));
        else if (is(op, "read_model")) read_model(input("file").raw);
        else if (is(op, "read_codes")) read_codes(input("file").raw);
        else if (is(op, "normalize_rows")) put_array("x_unit", 'F', unit_rows(input("x"), input("x").width, 0));
        else if (is(op, "encode")) encode(input("x"), input("W_enc"), input("b_enc"));
        else if (is(op, "decode")) put_array("x_hat", 'F', decode(input("indices"), input("values"), input("W_dec")));
        else if (is(op, "search")) search();
        else printf(",\"unsupported\":true");
        puts(n_outputs > 0 ? "}}" : "}");
        while (n_owned > 0) free(owned[--n_owned]);
    }
}
