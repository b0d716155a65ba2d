// A C library for plugins: no system below it, so nothing is imported. Compile with -fno-builtin.
//
// Memory comes from one arena, which is rewound when nothing is allocated any more. That is the case
// after each call, as the bindings free what a call was given and what it answered. What a plugin keeps
// between calls belongs into static variables.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16
#define PAGE 65536

// Before each block, ALIGNMENT bytes wide.
struct header {
    size_t size;
};

extern unsigned char __heap_base;

static uintptr_t next;
static size_t live;

_Noreturn void abort(void) {
    __builtin_trap();
}

void *malloc(size_t size) {
    if (live == 0) next = ((uintptr_t)&__heap_base + ALIGNMENT - 1) & -(uintptr_t)ALIGNMENT;
    uint64_t end = (uint64_t)next + ALIGNMENT + size;
    end = (end + ALIGNMENT - 1) & -(uint64_t)ALIGNMENT;
    uint64_t there = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > there) {
        uint64_t pages = (end - there + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, (size_t)pages) == SIZE_MAX) return NULL;
    }
    struct header *header = (struct header *)next;
    header->size = size;
    void *block = (char *)header + ALIGNMENT;
    next = (uintptr_t)end;
    live++;
    return block;
}

void free(void *block) {
    if (block != NULL) live--;
}

void *realloc(void *block, size_t size) {
    if (block == NULL) return malloc(size);
    size_t old = ((struct header *)((char *)block - ALIGNMENT))->size;
    if (size <= old) return block;
    void *larger = malloc(size);
    if (larger == NULL) return NULL;
    memcpy(larger, block, old);
    free(block);
    return larger;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    for (size_t at = 0; at < length; at++) ((char *)to)[at] = ((const char *)from)[at];
    return to;
}

void *memset(void *to, int byte, size_t length) {
    for (size_t at = 0; at < length; at++) ((char *)to)[at] = (char)byte;
    return to;
}

int memcmp(const void *one, const void *other, size_t length) {
    for (size_t at = 0; at < length; at++) {
        int difference = ((const unsigned char *)one)[at] - ((const unsigned char *)other)[at];
        if (difference != 0) return difference;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != '\0') length++;
    return length;
}

char *strchr(const char *text, int byte) {
    for (; *text != (char)byte; text++) {
        if (*text == '\0') return NULL;
    }
    return (char *)text;
}
