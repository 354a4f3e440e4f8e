/* The protocol of ../../spec/vectors/README.md on top of compressae.h: L0 to L2, and the extensions refine, packed,
 * center and small. It reads requests that `compressae-ref verify --program` writes, and trusts their form.
 *
 * Build with: cc -std=c99 -O2 -ftree-vectorize -ffp-contract=off -o port port.c compressae.c -lm
 */
#include "compressae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void *data;
    size_t rows, columns, width, size;
} Array; /* a vector has 1 column; size: bytes */

static void *owned[64]; /* memory, until the request is answered */
static int n_owned, n_outputs;
static const char *inputs; /* of the request, as JSON */
static csae_error error;

/* -- requests -- */

static void *get(size_t bytes) {
    void *memory = calloc(bytes + 1, 1);
    if (memory == NULL) exit(1);
    return owned[n_owned++] = memory;
}

static int is(const char *s, const char *t) { return s && !strncmp(s + 1, t, strlen(t)) && s[strlen(t) + 1] == *s; }

static const char *find(const char *at, const char *name) { /* a value in an object, or NULL; without a name, the end */
    const char *found = NULL, *text = NULL;
    for (int depth = 0; *at != '\0'; at++) {
        if (*at == '"')
            for (text = at++; *at != '"'; at++)
                if (*at == '\0') return NULL;
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (name != NULL && depth == 1 && *at == ':' && is(text, name)) found = at + 1;
        if (depth == 0 && *at > ' ') return name == NULL ? at + 1 : found;
    }
    return NULL;
}

static size_t whole(const char *name) { /* 0 for what is not a count */
    const char *at = find(inputs, name);
    long number = at == NULL ? 0 : strtol(at, NULL, 10);
    return number < 0 ? 0 : (size_t)number;
}

static Array input(const char *name) {
    const char *object = find(inputs, name);
    if (object == NULL || *object != '{') return (Array){NULL, 0, 0, 0, 0};
    const char *dtype = find(object, "dtype"), *shape = find(object, "shape"), *hex = find(object, "hex") + 1;
    Array a = {NULL, 0, 1, strtoul(dtype + 2, NULL, 10) / 8, strcspn(hex, "\"") / 2};
    char *end;
    a.rows = strtoul(shape + 1, &end, 10);
    if (*end == ',') a.columns = strtoul(end + 1, NULL, 10);
    uint8_t *at = a.data = get(a.size);
    for (size_t i = 0; i < 2 * a.size; i++)
        at[i / 2] = (uint8_t)(at[i / 2] << 4 | ((hex[i] & 15) + (hex[i] > '9') * 9));
    return a;
}

static char *text(const char *name) { /* a string, or NULL */
    const char *at = find(inputs, name);
    if (at == NULL || *at != '"') return NULL;
    size_t length = strcspn(at + 1, "\"");
    return memcpy(get(length), at + 1, length);
}

static csae_rows rows(Array a) { return (csae_rows){a.data, (csae_dtype)a.width, a.rows, a.columns}; }

static csae_code_rows codes(const char *indices, const char *values, size_t h, char *model) {
    Array i = input(indices), v = input(values);
    return (csae_code_rows){i.data, v.data, (csae_dtype)v.width, v.rows, v.columns, h, model};
}

/* -- answers -- */

static void put_key(const char *name) { printf("%s\"%s\":", n_outputs++ == 0 ? ",\"outputs\":{" : ",", name); }

static void put(const char *name, const char *dtype, const void *data, size_t n,
                size_t columns) { /* 0 columns: a vector */
    const uint8_t *at = data;
    size_t size = n * (columns == 0 ? 1 : columns) * (strtoul(dtype + 1, NULL, 10) / 8);
    put_key(name);
    printf(columns == 0 ? "{\"dtype\":\"%s\",\"shape\":[%lu],\"hex\":\""
                        : "{\"dtype\":\"%s\",\"shape\":[%lu,%lu],\"hex\":\"",
           dtype, (unsigned long)n, (unsigned long)columns);
    for (size_t i = 0; i < size; i++) printf("%02x", at[i]);
    printf("\"}");
}

static const char *floats(size_t width) { return width == 4 ? "F32" : "F64"; }

static void put_codes(const int32_t *indices, const void *values, size_t width, size_t n, size_t k) {
    put("indices", "I32", indices, n, k);
    put("values", floats(width), values, n, k);
}

static void put_count(const char *name, size_t count) {
    put_key(name);
    printf("%lu", (unsigned long)count);
}

static void put_text(const char *name, const char *value) { /* a string, or null */
    put_key(name);
    printf(value == NULL ? "null" : "\"");
    for (; value != NULL && *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') printf("\\%c", *value);
        else if ((unsigned char)*value < ' ') printf("\\u%04x", *value);
        else putchar(*value);
    }
    if (value != NULL) putchar('"');
}

/* -- operations; each one answers, or leaves `error` -- */

static csae_model *made(size_t d, Array W_enc, Array b_enc, Array W_dec, Array mean, size_t width, size_t h) {
    csae_model *model;
    if (mean.data != NULL && mean.rows != d) error = (csae_error){CSAE_SHAPE_ERROR, -1, ""};
    else csae_make_model(&model, (csae_dtype)width, d, h, 1, W_enc.data, b_enc.data, W_dec.data, mean.data, &error);
    return error.status == CSAE_OK ? model : NULL;
}

static const Array none = {NULL, 0, 0, 0, 0};

static void abs_topk(Array pre, const int32_t *from) {
    size_t k = whole("k"), h = pre.columns, most = k < h ? k : h; /* of each row */
    int32_t *indices = get(4 * pre.rows * most);
    uint8_t *values = get(pre.rows * most * pre.width), *row = pre.data;
    for (size_t i = 0; i < pre.rows && error.status == CSAE_OK; i++)
        csae_abs_topk((csae_dtype)pre.width, row + i * h * pre.width, from == NULL ? NULL : from + i * h, h, k,
                      indices + i * most, values + i * most * pre.width, &error);
    if (error.status == CSAE_OK) put_codes(indices, values, pre.width, pre.rows, k);
}

static void put_weights(const csae_model *model, const char *name, csae_weights which, size_t n, size_t columns) {
    size_t width = csae_describe_model(model).dtype;
    void *out = get(n * (columns == 0 ? 1 : columns) * width);
    csae_copy_weights(model, which, out, &error);
    put(name, floats(width), out, n, columns);
}

static void read_model(int small, unsigned flags) {
    Array file = input("file");
    csae_model *model;
    if (csae_open_model_bytes(&model, file.data, file.size, flags, &error) != CSAE_OK) return;
    csae_model_info m = csae_describe_model(model);
    int whole_model = !(flags & CSAE_ENCODER_ONLY);
    if ((small && m.version != 3) || (whole_model && !m.has_decoder)) error = (csae_error){CSAE_FORMAT_ERROR, -1, ""};
    else {
        put_weights(model, "W_enc", CSAE_W_ENC, m.d, m.h);
        put_weights(model, "b_enc", CSAE_B_ENC, m.h, 0);
        if (whole_model) put_weights(model, "W_dec", CSAE_W_DEC, m.h, m.d);
        put_count("k", m.k);
        put_text("digest", m.digest);
    }
    csae_close_model(model);
}

static void read_codes(int want_packed) {
    Array file = input("file");
    csae_codes *opened;
    if (csae_open_codes_bytes(&opened, file.data, file.size, &error) != CSAE_OK) return;
    csae_codes_info c = csae_describe_codes(opened);
    int32_t *indices = get(4 * c.n * c.k);
    void *values = get(c.n * c.k * c.dtype);
    if ((c.packed != NULL) != want_packed) error = (csae_error){CSAE_FORMAT_ERROR, -1, ""};
    else if (want_packed) {
        put("packed", "U8", c.packed, c.n, csae_packed_bytes(c.h, c.k, c.bits));
        put_count("k", c.k);
        put_count("bits", c.bits);
    } else if (csae_read_codes(opened, 0, c.n, indices, values, &error) == CSAE_OK)
        put_codes(indices, values, c.dtype, c.n, c.k);
    if (error.status == CSAE_OK) put_count("n_latents", c.h);
    if (error.status == CSAE_OK) put_text("model", c.model);
    csae_close_codes(opened);
}

static void unit_rows(void) {
    Array x = input("x"), mean = input("mean");
    csae_model *model = made(x.columns, none, none, none, mean, mean.data == NULL ? x.width : mean.width, 1);
    if (model == NULL) return;
    size_t width = csae_describe_model(model).dtype;
    void *out = get(x.rows * x.columns * width);
    if (csae_unit_rows(model, rows(x), 0, out, get(csae_workspace_bytes(model)), &error) == CSAE_OK)
        put("x_unit", floats(width), out, x.rows, x.columns);
    csae_close_model(model);
}

static unsigned zero_rows(void) { return is(find(inputs, "zero_rows"), "empty") ? CSAE_EMPTY_ZERO_ROWS : 0; }

static void encode(void) {
    Array x = input("x"), W_enc = input("W_enc");
    size_t k = whole("k"), most = k < W_enc.columns ? k : W_enc.columns;
    csae_model *model = made(W_enc.rows, W_enc, input("b_enc"), none, none, W_enc.width, W_enc.columns);
    if (model == NULL) return;
    int32_t *indices = get(4 * x.rows * most);
    void *values = get(x.rows * most * W_enc.width);
    if (csae_encode(model, rows(x), k, zero_rows(), indices, values, get(csae_workspace_bytes(model)), &error)
        == CSAE_OK)
        put_codes(indices, values, W_enc.width, x.rows, k);
    csae_close_model(model);
}

static void refine(void) {
    Array x = input("x"), candidates = input("indices"), W_dec = input("W_dec");
    size_t k = whole("k"), m = candidates.columns, most = k < m ? k : m;
    csae_model *model = made(W_dec.columns, none, none, W_dec, none, W_dec.width, W_dec.rows);
    if (model == NULL) return;
    int32_t *indices = get(4 * x.rows * most);
    void *values = get(x.rows * most * W_dec.width), *workspace = get(csae_refine_workspace_bytes(model, most, m));
    if (csae_refine(model, rows(x), k, m, candidates.data, zero_rows(), indices, values, workspace, &error) == CSAE_OK)
        put_codes(indices, values, W_dec.width, x.rows, k);
    csae_close_model(model);
}

static void decode(void) {
    Array W_dec = input("W_dec");
    csae_code_rows c = codes("indices", "values", W_dec.rows, NULL);
    csae_model *model = made(W_dec.columns, none, none, W_dec, none, W_dec.width, W_dec.rows);
    if (model == NULL) return;
    void *x_hat = get(c.n * W_dec.columns * W_dec.width);
    if (csae_decode(model, c, x_hat, get(csae_workspace_bytes(model)), &error) == CSAE_OK)
        put("x_hat", floats(W_dec.width), x_hat, c.n, W_dec.columns);
    csae_close_model(model);
}

static csae_space space_of_request(void) {
    const char *name = find(inputs, "space");
    return is(name, "sparse") ? CSAE_SPARSE : is(name, "reconstructed") ? CSAE_RECONSTRUCTED : CSAE_ASYMMETRIC;
}

static void run_search(csae_index *index, csae_code_rows items, size_t h) {
    Array queries = input("queries");
    csae_code_rows sparse =
        queries.data == NULL ? codes("query_indices", "query_values", h, text("query_model")) : items;
    size_t n = queries.data == NULL ? sparse.n : queries.rows, top = whole("top"),
           found = top < items.n ? top : items.n;
    int64_t *ids = get(8 * n * found);
    void *scores = get(n * found * items.dtype), *workspace = get(csae_index_workspace_bytes(index));
    if (queries.data != NULL) csae_search(index, rows(queries), top, ids, scores, workspace, &error);
    else csae_search_codes(index, sparse, top, ids, scores, workspace, &error);
    if (error.status != CSAE_OK) return;
    put("ids", "I64", ids, n, found);
    put("scores", floats(items.dtype), scores, n, found);
}

static void search(void) {
    size_t h = whole("n_latents");
    csae_space space = space_of_request();
    csae_code_rows items = codes("indices", "values", h, text("model"));
    Array W_dec = input(space == CSAE_SPARSE ? "" : "W_dec");
    csae_model *model =
        W_dec.data == NULL ? NULL : made(W_dec.columns, none, none, W_dec, input("mean"), W_dec.width, W_dec.rows);
    csae_codes *kept = NULL;
    csae_index *index = NULL;
    if (error.status == CSAE_OK) csae_make_codes(&kept, items, &error);
    if (error.status == CSAE_OK) csae_make_index(&index, model, kept, space, &error);
    if (error.status == CSAE_OK) run_search(index, items, h);
    csae_close_index(index);
    csae_close_codes(kept);
    csae_close_model(model);
}

static void pack(void) {
    csae_code_rows c = codes("indices", "values", whole("n_latents"), NULL);
    unsigned bits = (unsigned)whole("bits");
    size_t width = csae_packed_bytes(c.h, c.k, bits);
    uint8_t *packed = get(c.n * width);
    if (csae_pack(c, bits, packed, &error) == CSAE_OK) put("packed", "U8", packed, c.n, width);
}

static void unpack(void) {
    Array packed = input("packed");
    size_t h = whole("n_latents"), k = whole("k");
    int32_t *indices = get(4 * packed.rows * k);
    float *values = get(4 * packed.rows * k);
    if (csae_unpack(packed.data, packed.rows, packed.columns, h, k, (unsigned)whole("bits"), indices, values, &error)
        == CSAE_OK)
        put_codes(indices, values, 4, packed.rows, k);
}

/* E64 and E65 of small.md, for the tests alone: latent j has the entries start(j), start(j) + step, ... of a matrix */
typedef struct { size_t latents, count, step; int by_column; } Layout;
static Layout layout_of(Array a, int by_column) {
    return by_column ? (Layout){a.columns, a.rows, a.columns, 1} : (Layout){a.rows, a.columns, 1, 0};
}
static size_t start(Layout l, size_t j) { return l.by_column ? j : j * l.count; }

static float round_latent(const float *weights, int32_t *q, Layout l, size_t j) {
    double largest = 0.0;
    int64_t squares = 0;
    for (size_t i = 0, at = start(l, j); i < l.count; i++, at += l.step)
        if (fabs(weights[at]) > largest) largest = fabs(weights[at]); /* fmax here crashes GCC 12 for aarch64 */
    float scale = (float)(largest / 127.0);
    int zero = scale < 0x1p-126f;
    for (size_t i = 0, at = start(l, j); i < l.count; i++, at += l.step) {
        q[at] = zero ? 0 : (int32_t)nearbyint((double)weights[at] / scale);
        squares += q[at] * q[at];
    }
    if (l.by_column) return zero ? 1.0f : scale;
    return (float)(1.0 / sqrt(squares > 1 ? (double)squares : 1.0));
}

static void round_weights(const char *name, const char *q_name, const char *scales_name, int by_column) {
    Array weights = input(name);
    Layout l = layout_of(weights, by_column);
    int32_t *q = get(4 * weights.rows * weights.columns);
    float *scales = get(4 * l.latents);
    for (size_t j = 0; j < l.latents; j++) scales[j] = round_latent(weights.data, q, l, j);
    put(q_name, "I32", q, weights.rows, weights.columns);
    put(scales_name, "F32", scales, l.latents, 0);
}

static void decode_weights(const char *name, const char *q_name, const char *scales_name, int by_column) {
    Array q = input(q_name), scales = input(scales_name);
    Layout l = layout_of(q, by_column);
    float *decoded = get(4 * q.rows * q.columns);
    for (size_t j = 0; j < l.latents; j++)
        for (size_t i = 0, at = start(l, j); i < l.count; i++, at += l.step)
            decoded[at] = (float)((const int32_t *)q.data)[at] * ((const float *)scales.data)[j];
    put(name, "F32", decoded, q.rows, q.columns);
}

static void both(void (*work)(const char *, const char *, const char *, int)) {
    work("W_enc", "W_enc_q", "W_enc_scales", 1);
    work("W_dec", "W_dec_q", "W_dec_scales", 0);
}

static int answer(const char *op) { /* false if the operation is unknown */
    if (is(op, "abs_topk")) abs_topk(input("pre"), NULL);
    else if (is(op, "truncate")) abs_topk(input("values"), input("indices").data);
    else if (is(op, "read_model")) read_model(0, 0);
    else if (is(op, "read_small_model")) read_model(1, 0);
    else if (is(op, "read_encoder")) read_model(1, CSAE_ENCODER_ONLY);
    else if (is(op, "round_weights")) both(round_weights);
    else if (is(op, "decode_weights")) both(decode_weights);
    else if (is(op, "read_codes")) read_codes(0);
    else if (is(op, "read_packed")) read_codes(1);
    else if (is(op, "normalize_rows") || is(op, "center_rows")) unit_rows();
    else if (is(op, "encode")) encode();
    else if (is(op, "decode")) decode();
    else if (is(op, "search") || is(op, "center_search")) search();
    else if (is(op, "refine")) refine();
    else if (is(op, "pack")) pack();
    else if (is(op, "unpack")) unpack();
    else return 0;
    return 1;
}

int main(void) {
    static char line[1 << 26]; /* the longest request has 25 MB */
    for (setvbuf(stdout, NULL, _IOFBF, 1 << 16); fgets(line, sizeof line, stdin) != NULL; fflush(stdout)) {
        const char *id = find(line, "id"), *op = find(line, "operation");
        inputs = find(line, "inputs");
        if (id == NULL || op == NULL || inputs == NULL) return 1;
        n_outputs = 0;
        error = (csae_error){CSAE_OK, -1, ""};
        printf("{\"id\":%.*s", (int)strcspn(id + 1, "\"") + 2, id);
        if (!answer(op)) printf(",\"unsupported\":true");
        if (error.status != CSAE_OK && error.row < 0) printf(",\"error\":\"%s\"", csae_status_name(error.status));
        else if (error.status != CSAE_OK)
            printf(",\"error\":\"%s\",\"row\":%ld", csae_status_name(error.status), (long)error.row);
        puts(n_outputs > 0 ? "}}" : "}");
        while (n_owned > 0) free(owned[--n_owned]);
    }
}
