#include "common/hash/digest.hpp"

#include <gtest/gtest.h>

#include "common/hash/xxh3.hpp"
#include "tests/unit/fakes/bytes_of.hpp"

namespace nbdstack {
namespace {

using testing::bytes_view;

// RFC 1321, appendix A.5.
TEST(Md5, AgreesWithTheTestSuiteOfItsSpecification) {
  EXPECT_EQ(to_hex(md5(bytes_view(""))), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(to_hex(md5(bytes_view("message digest"))), "f96b697d7cb7938d525a2f31aaf161d0");
}

// FIPS 180-2, appendix B.1.
TEST(Sha256, AgreesWithTheExampleOfItsSpecification) {
  EXPECT_EQ(to_hex(sha256(bytes_view("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// The canonical form: the hex digits are those of `xxhsum -H2`.
TEST(Xxh3, MatchesPublishedValues) {
  EXPECT_EQ(to_hex(xxh3_128({})), "99aa06d3014798d86001c324468d497f");
}

}  // namespace
}  // namespace nbdstack
