/* Text to token ids to a vector, in one pass each: what words.py, static.py and lexical.py do in Python and numpy.
 *
 * Optional: where it was not compiled, Python does the same (tests/unit/routers/test_kernel.py compares them). Nothing is
 * kept between calls, every read is within a buffer whose length was checked, and the interpreter's lock is held
 * throughout. Sums run over ascending tokens, element by element and without fused operations, so that a vector is the
 * same to the last bit on every processor of a platform and in whatever order the words stand.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* --- the vocabulary of a WordPiece tokenizer as an open hash table, laid out in one bytes object -------------------- */

typedef struct {
    uint32_t slots;   /* a power of two */
    uint32_t longest; /* bytes of the longest token */
} Head;

typedef struct {
    uint32_t hash;
    int32_t id;      /* -1: empty */
    uint32_t at;     /* of the token's text, from the start of the object */
    uint16_t length;
    uint16_t inner;  /* 1: continues a word */
} Slot;

static uint32_t seed(int inner) { return inner ? 0x9e3779b9u : 2166136261u; }
static uint32_t step(uint32_t hash, uint8_t byte) { return (hash ^ byte) * 16777619u; }
static uint32_t place(uint32_t hash, uint32_t mask) { return (hash ^ (hash >> 15)) & mask; }

static int32_t find(const char *index, const Head *head, uint32_t hash, const uint8_t *text, uint32_t length, int inner)
{
    const Slot *slots = (const Slot *)(index + sizeof(Head));
    const uint32_t mask = head->slots - 1;
    for (uint32_t at = place(hash, mask);; at = (at + 1) & mask) {
        const Slot *slot = slots + at;
        if (slot->id < 0)
            return -1;
        if (slot->hash == hash && slot->length == length && slot->inner == inner &&
            memcmp(index + slot->at, text, length) == 0)
            return slot->id;
    }
}

/* index(tokens: list[bytes], prefix: bytes) -> bytes. Position in the list is the id; an empty token is left out. */
static PyObject *build_index(PyObject *module, PyObject *args)
{
    PyObject *tokens;
    const char *prefix;
    Py_ssize_t prefix_length;
    if (!PyArg_ParseTuple(args, "O!y#", &PyList_Type, &tokens, &prefix, &prefix_length))
        return NULL;
    const Py_ssize_t count = PyList_Size(tokens);
    size_t text_bytes = 0;
    for (Py_ssize_t id = 0; id < count; id++) {
        PyObject *token = PyList_GetItem(tokens, id);
        const Py_ssize_t length = token == NULL ? -1 : PyBytes_Size(token);
        if (length < 0)
            return NULL;
        if (length > UINT16_MAX)
            return PyErr_Format(PyExc_ValueError, "token %zd is too long", id);
        text_bytes += (size_t)length;
    }
    Head head = {16, 0};
    while (head.slots < 2 * (size_t)count)
        head.slots *= 2;
    size_t at = sizeof(Head) + head.slots * sizeof(Slot);
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(at + text_bytes));
    if (made == NULL)
        return NULL;
    char *index = PyBytes_AsString(made);
    Slot *slots = (Slot *)(index + sizeof(Head));
    for (uint32_t slot = 0; slot < head.slots; slot++)
        slots[slot] = (Slot){0, -1, 0, 0, 0};
    for (Py_ssize_t id = 0; id < count; id++) {
        PyObject *token = PyList_GetItem(tokens, id);
        const char *text = PyBytes_AsString(token);
        Py_ssize_t length = PyBytes_Size(token);
        const int inner = prefix_length > 0 && length > prefix_length && memcmp(text, prefix, prefix_length) == 0;
        if (inner) {
            text += prefix_length;
            length -= prefix_length;
        }
        if (length == 0)
            continue;
        memcpy(index + at, text, length);
        uint32_t hash = seed(inner);
        for (Py_ssize_t byte = 0; byte < length; byte++)
            hash = step(hash, (uint8_t)text[byte]);
        uint32_t slot = place(hash, head.slots - 1);
        while (slots[slot].id >= 0)
            slot = (slot + 1) & (head.slots - 1);
        slots[slot] = (Slot){hash, (int32_t)id, (uint32_t)at, (uint16_t)length, (uint16_t)inner};
        at += (size_t)length;
        if ((uint32_t)length > head.longest)
            head.longest = (uint32_t)length;
    }
    memset(index + at, 0, sizeof(Head) + head.slots * sizeof(Slot) + text_bytes - at);
    memcpy(index, &head, sizeof head);
    return made;
}

/* Ids of one word, the longest known piece first; `unknown` alone where a part of it is not known. */
static size_t word_ids(const char *index, const Head *head, const uint8_t *word, size_t length, int32_t unknown,
                       size_t most_chars, int32_t *ids)
{
    uint32_t hashes[UINT8_MAX + 1];
    size_t count = 0;
    if (length > most_chars) {
        ids[0] = unknown;
        return 1;
    }
    for (size_t start = 0; start < length;) {
        const int inner = start > 0;
        size_t reach = length - start;
        if (reach > head->longest)
            reach = head->longest;
        uint32_t hash = seed(inner);
        for (size_t byte = 0; byte < reach; byte++)
            hashes[byte] = hash = step(hash, word[start + byte]);
        int32_t id = -1;
        for (; reach > 0; reach--) {
            id = find(index, head, hashes[reach - 1], word + start, (uint32_t)reach, inner);
            if (id >= 0)
                break;
        }
        if (id < 0) {
            ids[0] = unknown;
            return 1;
        }
        ids[count++] = id;
        start += reach;
    }
    return count;
}

enum { SPACE, SIGN, ALNUM, FOREIGN, NOTHING };

static int kind_of(uint8_t byte)
{
    if (byte >= 0x80)
        return FOREIGN;
    if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'))
        return ALNUM;
    if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r')
        return SPACE;
    /* Other control characters are deleted, and what they parted grows together. */
    return byte < ' ' || byte == 0x7f ? NOTHING : SIGN;
}

/* The ids of a cleaned text into `ids`, what has other than ASCII in it to the list; -1 for an error. */
static Py_ssize_t split(const char *index, const Head *head, const uint8_t *text, size_t length, int32_t unknown,
                        size_t most_chars, int32_t *ids, PyObject *foreign)
{
    size_t count = 0;
    for (size_t start = 0, end; start < length; start = end) {
        int kind = kind_of(text[start]);
        end = start + 1;
        if (kind == SPACE)
            continue;
        if (kind != SIGN)
            for (int next; end < length && (next = kind_of(text[end])) >= ALNUM; end++)
                if (next == FOREIGN)
                    kind = FOREIGN;
        if (kind != FOREIGN) {
            count += word_ids(index, head, text + start, end - start, unknown, most_chars, ids + count);
            continue;
        }
        PyObject *piece = PyUnicode_DecodeUTF8((const char *)text + start, (Py_ssize_t)(end - start), "strict");
        const int failed = piece == NULL || PyList_Append(foreign, piece) < 0;
        Py_XDECREF(piece);
        if (failed)
            return -1;
    }
    return (Py_ssize_t)count;
}

/* tokenise(text: str, index: bytes, unknown: int, most_chars: int, lowercase: bool) -> (bytes of int32, list[str]).
 * The list has the pieces, between white space and ASCII signs, that hold other characters than ASCII. */
static PyObject *tokenise(PyObject *module, PyObject *args)
{
    const char *given, *index;
    Py_ssize_t length, index_bytes, most_chars;
    int unknown, lowercase;
    if (!PyArg_ParseTuple(args, "s#y#inp", &given, &length, &index, &index_bytes, &unknown, &most_chars, &lowercase))
        return NULL;
    Head head;
    if (index_bytes < (Py_ssize_t)sizeof head || most_chars < 0)
        return PyErr_Format(PyExc_ValueError, "not an index of a vocabulary");
    memcpy(&head, index, sizeof head);
    if (head.slots == 0 || (head.slots & (head.slots - 1)) || head.longest > UINT8_MAX ||
        (size_t)index_bytes < sizeof head + head.slots * sizeof(Slot))
        return PyErr_Format(PyExc_ValueError, "not an index of a vocabulary, or one of too long tokens");
    /* The cleaned text, behind room for one id per byte: more there cannot be. */
    int32_t *ids = PyMem_Malloc((size_t)length * (sizeof(int32_t) + 1) + 1);
    if (ids == NULL)
        return PyErr_NoMemory();
    uint8_t *text = (uint8_t *)(ids + length);
    size_t left = 0;
    for (Py_ssize_t at = 0; at < length; at++) {
        const uint8_t byte = (uint8_t)given[at];
        if (kind_of(byte) != NOTHING)
            text[left++] = lowercase && byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
    }
    PyObject *made = NULL, *foreign = PyList_New(0);
    if (foreign != NULL) {
        const Py_ssize_t count = split(index, &head, text, left, unknown, (size_t)most_chars, ids, foreign);
        if (count >= 0)
            made = Py_BuildValue("y#O", (const char *)ids, count * (Py_ssize_t)sizeof(int32_t), foreign);
        Py_DECREF(foreign);
    }
    PyMem_Free(ids);
    return made;
}

/* --- the vector of a bag of tokens ---------------------------------------------------------------------------------- */

static void sort(int32_t *ids, size_t count)
{
    static const size_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t pass = 0; pass < sizeof gaps / sizeof *gaps; pass++)
        for (size_t at = gaps[pass]; at < count; at++) {
            const int32_t id = ids[at];
            size_t to = at;
            for (; to >= gaps[pass] && ids[to - gaps[pass]] > id; to -= gaps[pass])
                ids[to] = ids[to - gaps[pass]];
            ids[to] = id;
        }
}

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default")))
#endif
static void add_row(float *restrict sum, const int8_t *restrict row, float factor, size_t width)
{
    for (size_t column = 0; column < width; column++)
        sum[column] += factor * (float)row[column];
}

/* A prompt's tokens lie all over the tables, and waiting for memory takes longer than the sums: so it is asked early. */
static void fetch(const void *from, size_t bytes)
{
#ifdef __GNUC__
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)from + at);
#endif
}

static void divide(float *sum, size_t width, double norm)
{
    if (norm > 0.0)
        for (size_t column = 0; column < width; column++)
            sum[column] = (float)(sum[column] / norm);
}

enum { AHEAD = 8 };

static PyObject *vector_of(const Py_buffer *given, const Py_buffer *rows, const Py_buffer *scales,
                           const Py_buffer *words, const Py_buffer *factors, const Py_buffer *out)
{
    const size_t count = (size_t)given->len / sizeof(int32_t), vocab = (size_t)scales->len / sizeof(float);
    const size_t width = vocab ? (size_t)rows->len / vocab : 0, classes = vocab ? (size_t)words->len / vocab : 0;
    if ((size_t)out->len != (width + classes) * sizeof(float) || (size_t)rows->len != width * vocab ||
        (size_t)words->len != classes * vocab || (classes && (size_t)factors->len != 2 * vocab * sizeof(float)))
        return PyErr_Format(PyExc_ValueError, "the tables' sizes do not fit together");
    int32_t *ids = PyMem_Malloc(count * sizeof(int32_t) + 1);
    if (ids == NULL)
        return PyErr_NoMemory();
    memcpy(ids, given->buf, count * sizeof(int32_t));
    sort(ids, count);
    if (count && (ids[0] < 0 || (size_t)ids[count - 1] >= vocab)) {
        PyMem_Free(ids);
        return PyErr_Format(PyExc_IndexError, "a token id is outside of the vocabulary of %zu", vocab);
    }
    const float *scale = scales->buf, *idf = factors->buf;
    float *vector = out->buf, *scores = vector + width;
    double square = 0.0, weight = 0.0;
    memset(vector, 0, (size_t)out->len);
    size_t ahead = 0;
    for (size_t at = 0, next; at < count; at = next) {
        for (; ahead < count && ahead < at + AHEAD; ahead++) {
            const size_t id = (size_t)ids[ahead];
            fetch((const int8_t *)rows->buf + id * width, width);
            fetch((const int8_t *)words->buf + id * classes, classes);
            fetch(scale + id, 1);
            if (classes) {
                fetch(idf + id, 1);
                fetch(idf + vocab + id, 1);
            }
        }
        for (next = at + 1; next < count && ids[next] == ids[at]; next++)
            ;
        const size_t id = (size_t)ids[at];
        const float often = (float)(next - at);
        add_row(vector, (const int8_t *)rows->buf + id * width, scale[id] * often, width);
        if (classes && idf[id] != 0.0f) {
            const float damped = next - at == 1 ? 1.0f : 1.0f + logf(often);
            const float tfidf = idf[id] * damped;
            weight += (double)tfidf * tfidf;
            add_row(scores, (const int8_t *)words->buf + id * classes, idf[vocab + id] * damped, classes);
        }
    }
    for (size_t column = 0; column < width; column++)
        square += (double)vector[column] * vector[column];
    divide(vector, width, sqrt(square));
    divide(scores, classes, sqrt(weight));
    PyMem_Free(ids);
    Py_RETURN_NONE;
}

/* pool(ids, rows, scales, words, factors, out) -> None, writes to `out`; all are C-contiguous buffers.
 * ids int32 (n,); rows int8 (vocab, dim); scales float32 (vocab,); words int8 (vocab, K); factors float32 (2, vocab): idf,
 * and what a row of `words` is multiplied by; out float32 (dim + K,). Without lexical scores `words` and `factors` are
 * empty. */
static PyObject *pool(PyObject *module, PyObject *args)
{
    PyObject *given[6];
    Py_buffer views[6];
    PyObject *made = NULL;
    int held = 0;
    if (!PyArg_ParseTuple(args, "OOOOOO", given, given + 1, given + 2, given + 3, given + 4, given + 5))
        return NULL;
    for (; held < 6; held++)
        if (PyObject_GetBuffer(given[held], views + held, held == 5 ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
            goto release;
    made = vector_of(views, views + 1, views + 2, views + 3, views + 4, views + 5);
release:
    while (held > 0)
        PyBuffer_Release(views + --held);
    return made;
}

static PyMethodDef methods[] = {
    {"index", build_index, METH_VARARGS, "The vocabulary of a WordPiece tokenizer, to look words up in."},
    {"tokenise", tokenise, METH_VARARGS, "Token ids of a text, and the pieces that are not ASCII."},
    {"pool", pool, METH_VARARGS, "The vector of a bag of tokens."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernel", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&definition); }
