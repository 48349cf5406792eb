// AES on single blocks, by the system's OpenSSL. In C, because what OpenSSL calls a context is a type that Swift can't see.
#ifndef MID_CIPHER_SHIM_H
#define MID_CIPHER_SHIM_H

#include <openssl/evp.h>
#include <stdint.h>

// AES under a key of 16, 24 or 32 bytes, or NULL where there is none to be had. Free it with mid_aes_free.
static inline void *mid_aes_new(const uint8_t *key, int32_t length) {
  const EVP_CIPHER *cipher = length == 16   ? EVP_aes_128_ecb()
                             : length == 24 ? EVP_aes_192_ecb()
                             : length == 32 ? EVP_aes_256_ecb()
                                            : NULL;
  if (cipher == NULL) return NULL;
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  if (context == NULL) return NULL;
  if (EVP_EncryptInit_ex(context, cipher, NULL, key, NULL) != 1 || EVP_CIPHER_CTX_set_padding(context, 0) != 1) {
    EVP_CIPHER_CTX_free(context);
    return NULL;
  }
  return context;
}

// Encrypts one block of 16 bytes and returns 1, or returns 0 where it can't. Not safe from two threads at once.
static inline int32_t mid_aes_encrypt(void *context, const uint8_t *block, uint8_t *result) {
  int length = 0;
  return EVP_EncryptUpdate((EVP_CIPHER_CTX *)context, result, &length, block, 16) == 1 && length == 16;
}

// Which of the process's threads this is, in the order in which they first asked, from 0. Wraps after 2^32.
static inline uint32_t mid_thread_number(void) {
  static _Atomic uint32_t next = 1;
  static _Thread_local uint32_t number;
  if (number == 0) number = next++;
  return number - 1;
}

// Frees what mid_aes_new made; the key is wiped.
static inline void mid_aes_free(void *context) { EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *)context); }

#endif
