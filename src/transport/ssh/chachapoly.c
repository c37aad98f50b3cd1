/* chacha20-poly1305@openssh.com by OpenSSL, which uses the processor's vector units.
 *
 * libssh2 brings ChaCha20 and Poly1305 in plain C, and they take longer than all else of a transfer. The linker gives
 * libssh2 the function below instead of its own (see build.rs); where OpenSSL has none of this, as in FIPS mode, it calls
 * the one of libssh2. An OpenSSH server at the other end is what it is tested against.
 *
 * The cipher: https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.chacha20poly1305
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { KEY = 32, TAG = 16, DECRYPT_FAILED = -12 /* LIBSSH2_ERROR_DECRYPT */ };

/* As in libssh2: the words of the two states, of which the key is the fifth to the twelfth. Only they are read. */
struct chachapoly_ctx {
    uint32_t main[16], header[16];
};

int __real_chachapoly_crypt(struct chachapoly_ctx *ctx, uint64_t seqnr, unsigned char *dest, const unsigned char *src,
                            size_t len, size_t aadlen, int do_encrypt);
int __wrap_chachapoly_crypt(struct chachapoly_ctx *ctx, uint64_t seqnr, unsigned char *dest, const unsigned char *src,
                            size_t len, size_t aadlen, int do_encrypt);

/* What OpenSSL needs, made once for each thread: to look an algorithm up takes longer than a small packet. */
static __thread struct {
    int tried;
    EVP_CIPHER_CTX *chacha;
    EVP_MAC_CTX *poly;
} of_thread;

static int ready(void)
{
    if(!of_thread.tried) {
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
        of_thread.tried = 1;
        of_thread.poly = mac ? EVP_MAC_CTX_new(mac) : NULL;
        EVP_MAC_free(mac);
        of_thread.chacha = EVP_CIPHER_CTX_new();
        if(of_thread.chacha && !EVP_EncryptInit_ex(of_thread.chacha, EVP_chacha20(), NULL, NULL, NULL)) {
            EVP_CIPHER_CTX_free(of_thread.chacha);
            of_thread.chacha = NULL;
        }
    }
    return of_thread.poly && of_thread.chacha;
}

/* The stream of a state: its key, a counter of blocks, the number of the packet. */
static int chacha(const uint32_t state[16], uint64_t block, uint64_t seqnr, unsigned char *dest, const unsigned char *src,
                  size_t len)
{
    unsigned char key[KEY], iv[16];
    int i, done, ok;

    for(i = 0; i < KEY; i++)
        key[i] = (unsigned char)(state[4 + i / 4] >> (8 * (i % 4)));
    for(i = 0; i < 8; i++) {
        iv[i] = (unsigned char)(block >> (8 * i));
        iv[8 + i] = (unsigned char)(seqnr >> (56 - 8 * i));
    }
    ok = EVP_EncryptInit_ex(of_thread.chacha, NULL, NULL, key, iv)
         && EVP_EncryptUpdate(of_thread.chacha, dest, &done, src, (int)len);
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

static int poly1305(unsigned char tag[TAG], const unsigned char *data, size_t len, const unsigned char key[KEY])
{
    size_t written;

    return EVP_MAC_init(of_thread.poly, key, KEY, NULL) && EVP_MAC_update(of_thread.poly, data, len)
           && EVP_MAC_final(of_thread.poly, tag, &written, TAG);
}

int __wrap_chachapoly_crypt(struct chachapoly_ctx *ctx, uint64_t seqnr, unsigned char *dest, const unsigned char *src,
                            size_t len, size_t aadlen, int do_encrypt)
{
    unsigned char key[KEY] = {0}, tag[TAG];
    int ok;

    if(!ready())
        return __real_chachapoly_crypt(ctx, seqnr, dest, src, len, aadlen, do_encrypt);
    ok = chacha(ctx->main, 0, seqnr, key, key, sizeof(key));
    /* What is not authentic is not decrypted. */
    if(ok && !do_encrypt)
        ok = poly1305(tag, src, aadlen + len, key) && CRYPTO_memcmp(tag, src + aadlen + len, TAG) == 0;
    if(ok && aadlen)
        ok = chacha(ctx->header, 0, seqnr, dest, src, aadlen);
    if(ok)
        ok = chacha(ctx->main, 1, seqnr, dest + aadlen, src + aadlen, len);
    if(ok && do_encrypt)
        ok = poly1305(dest + aadlen + len, dest, aadlen + len, key);
    OPENSSL_cleanse(key, sizeof(key));
    return ok ? 0 : DECRYPT_FAILED;
}
