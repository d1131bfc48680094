// Parts of objects over HTTP: what is asked for, and that nothing comes through unverified where
// the object carries a checksum.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/piece_checksums.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::AnswerHeaders;
using testing::contains;
using testing::error_answer;
using Bytes = std::vector<std::byte>;

constexpr const char* kWhole = "x-amz-meta-nbdstack-xxh3";
constexpr const char* kPieces = "x-amz-meta-nbdstack-pieces";
constexpr std::size_t kPiece = 64 << 10U;
constexpr std::size_t kObject = 4 * kPiece + 1000;

Bytes pattern(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& each : bytes) each = static_cast<std::byte>(random());
  return bytes;
}

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class HttpStorePartsTest : public ::testing::Test {
 protected:
  explicit HttpStorePartsTest(unsigned retries = 0)
      : store({.bucket = "disk",
               .location = testing::disk_at(server.url()),
               .credentials = std::make_shared<CredentialSource>(Credentials{"KEY", "SECRET", ""}),
               .retries = retries},
              clock) {}

  static AnswerHeaders checksums(const Bytes& of) {
    return {{kWhole, to_hex(xxh3_128(of))}, {kPieces, PieceChecksums::of(of)->to_text()}};
  }
  static Answer part_answer(const Bytes& object, std::size_t begin, std::size_t end,
                            AnswerHeaders headers) {
    headers.emplace_back("Content-Range",
                         fmt::format("bytes {}-{}/{}", begin, end - 1, object.size()));
    return answer(206, text_of(object).substr(begin, end - begin), headers);
  }
  Bytes read(std::size_t offset, std::size_t length, const std::string& etag = "") {
    Bytes part(length);
    EXPECT_TRUE(store.get_range("k", part,
                                {.offset = offset, .object_bytes = object.size(), .etag = etag}));
    return part;
  }
  Bytes expected(std::size_t offset, std::size_t length) {
    const auto begin = object.begin() + static_cast<std::ptrdiff_t>(offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(length)};
  }
  // What the error of a read says.
  std::string refusal(std::size_t offset, std::size_t length, const std::string& etag = "") {
    Bytes part(length);
    try {
      store.get_range("k", part, {.offset = offset, .object_bytes = object.size(), .etag = etag});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
      EXPECT_TRUE(contains(error.what(), "s3://disk/k")) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  std::string range_of(std::size_t request) {
    return server.requests().at(request).header("range");
  }

  testing::FakeClock clock;
  testing::ScriptedHttpServer server;
  HttpStore store;
  Bytes object = pattern(kObject, 1);
};

TEST_F(HttpStorePartsTest, APutCarriesChecksumsOfTheWholeAndOfItsPieces) {
  server.then(answer(200));
  store.put("k", object, {});
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.header(kWhole), to_hex(xxh3_128(object)));
  EXPECT_EQ(request.header(kPieces), PieceChecksums::of(object)->to_text());
  for (const PutOptions& options :
       {PutOptions{.with_checksum = false}, PutOptions{.with_pieces = false}}) {
    server.then(answer(200));
    store.put("k", object, options);
    EXPECT_EQ(server.requests().back().header(kPieces), "");
  }
  server.then(answer(200));
  store.put("k", pattern(kPiece, 1), {});
  EXPECT_EQ(server.requests().back().header(kPieces), "") << "an object of one piece needs none";
  EXPECT_NE(server.requests().back().header(kWhole), "");
}

TEST_F(HttpStorePartsTest, WholePiecesAreAskedForAndNoMore) {
  server.then(part_answer(object, kPiece, 2 * kPiece, checksums(object)));
  EXPECT_EQ(read(kPiece, kPiece), expected(kPiece, kPiece));
  EXPECT_EQ(range_of(0), "bytes=65536-131071");
  server.then(part_answer(object, kPiece, 3 * kPiece, checksums(object)));
  EXPECT_EQ(read(2 * kPiece - 1, 2), expected(2 * kPiece - 1, 2));
  EXPECT_EQ(range_of(1), "bytes=65536-196607");
  server.then(part_answer(object, 4 * kPiece, kObject, checksums(object)));
  EXPECT_EQ(read(kObject - 1, 1), expected(kObject - 1, 1));
  EXPECT_EQ(range_of(2), "bytes=262144-263143");
}

TEST_F(HttpStorePartsTest, AFlippedBitInAPieceIsAnErrorThatNamesIt) {
  const AnswerHeaders headers = checksums(object);
  Bytes bad = object;
  bad[kPiece + 77] ^= std::byte{4};
  server.then(part_answer(bad, kPiece, 2 * kPiece, headers));
  const std::string message = refusal(kPiece + 1000, 10);
  EXPECT_TRUE(contains(message, "corrupted") && contains(message, "65536 bytes at 65536"))
      << message;
  server.then(part_answer(bad, 0, kPiece, headers));
  EXPECT_EQ(read(0, 10), expected(0, 10));
}

TEST_F(HttpStorePartsTest, AListOfAnotherObjectIsAnErrorAndNotNoChecksum) {
  for (const std::string& list : {PieceChecksums::of(pattern(kObject, 2))->to_text(),
                                  PieceChecksums::of(pattern(kObject + 1, 1))->to_text(),
                                  PieceChecksums::of(pattern(1 << 20U, 1))->to_text(),
                                  std::string(), std::string("1:65536")}) {
    server.then(
        part_answer(object, 0, kPiece, {{kWhole, to_hex(xxh3_128(object))}, {kPieces, list}}));
    refusal(0, 100);
  }
}

TEST_F(HttpStorePartsTest, AShortObjectIsReadWholeAndVerifiedByItsOnlyChecksum) {
  object = pattern(5000, 1);
  server.then(part_answer(object, 0, 5000, {{kWhole, to_hex(xxh3_128(object))}}));
  EXPECT_EQ(read(4000, 100), expected(4000, 100));
  EXPECT_EQ(range_of(0), "bytes=0-4999");
  Bytes bad = object;
  bad[0] ^= std::byte{1};  // not even asked for
  server.then(part_answer(bad, 0, 5000, {{kWhole, to_hex(xxh3_128(object))}}));
  refusal(4000, 100);
}

// Of an object that an older version stored the whole is read once, and vouches for the rest.
TEST_F(HttpStorePartsTest, AnOldObjectIsReadWholeOnce) {
  const AnswerHeaders old{{kWhole, to_hex(xxh3_128(object))}};
  server.then(part_answer(object, 0, kPiece, old));
  server.then(answer(200, text_of(object), old));
  EXPECT_EQ(read(10, 100), expected(10, 100));
  EXPECT_EQ(range_of(1), "");
  server.then(part_answer(object, kPiece, 2 * kPiece, old));
  EXPECT_EQ(read(kPiece, 100), expected(kPiece, 100));
  EXPECT_EQ(server.requests().size(), 3U);
  Bytes bad = object;
  bad[3 * kPiece] ^= std::byte{1};
  server.then(part_answer(bad, 3 * kPiece, 4 * kPiece, old));
  EXPECT_TRUE(contains(refusal(3 * kPiece + 5, 100), "corrupted"));
}

TEST_F(HttpStorePartsTest, OfManyFirstReadsOfAnOldObjectOneReadsItWhole) {
  const AnswerHeaders old{{kWhole, to_hex(xxh3_128(object))}};
  testing::Gate whole_is_read;
  Answer whole = answer(200, text_of(object), old);
  whole.before = [&] { whole_is_read.wait(); };
  server.then(part_answer(object, 0, kPiece, old));
  server.then(whole);
  server.then(part_answer(object, kPiece, 2 * kPiece, old));
  std::thread first([&] { EXPECT_EQ(read(10, 100), expected(10, 100)); });
  whole_is_read.await_arrivals(1);
  std::atomic<bool> has_read{false};
  std::thread second([&] {
    EXPECT_EQ(read(kPiece, 100), expected(kPiece, 100));
    has_read = true;
  });
  while (store.waiting_for_whole() == 0 && !has_read) std::this_thread::yield();
  whole_is_read.open();
  first.join();
  second.join();
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(HttpStorePartsTest, WhoHasWaitedForAReadThatFailedReadsForItself) {
  const AnswerHeaders old{{kWhole, to_hex(xxh3_128(object))}};
  testing::Gate whole_is_read;
  Answer failure = error_answer(403, "AccessDenied");
  failure.before = [&] { whole_is_read.wait(); };
  server.then(part_answer(object, 0, kPiece, old));
  server.then(failure);
  server.then(part_answer(object, kPiece, 2 * kPiece, old));
  server.then(answer(200, text_of(object), old));
  std::thread first([&] {
    Bytes part(100);
    EXPECT_THROW(store.get_range("k", part, {.offset = 10, .object_bytes = object.size()}), Error);
  });
  whole_is_read.await_arrivals(1);
  std::atomic<bool> has_read{false};
  std::thread second([&] {
    EXPECT_EQ(read(kPiece, 100), expected(kPiece, 100));
    has_read = true;
  });
  while (store.waiting_for_whole() == 0 && !has_read) std::this_thread::yield();
  whole_is_read.open();
  first.join();
  second.join();
}

TEST_F(HttpStorePartsTest, ADamagedOldObjectIsAnErrorWhereverThePartLies) {
  const AnswerHeaders old{{kWhole, to_hex(xxh3_128(object))}};
  Bytes bad = object;
  bad[kObject - 1] ^= std::byte{1};
  server.then(part_answer(bad, 0, kPiece, old));
  server.then(answer(200, text_of(bad), old));
  EXPECT_TRUE(contains(refusal(10, 100), "corrupted"));
}

TEST_F(HttpStorePartsTest, AnObjectWithoutAnyChecksumIsRead) {
  server.then(part_answer(object, 0, kPiece, {}));
  EXPECT_EQ(read(10, 100), expected(10, 100));
}

TEST_F(HttpStorePartsTest, AWholeReadIsVerifiedByThePiecesWhereThereIsNothingElse) {
  const AnswerHeaders pieces{{kPieces, PieceChecksums::of(object)->to_text()}};
  Bytes body(kObject);
  server.then(answer(200, text_of(object), pieces));
  EXPECT_TRUE(store.get("k", body));
  object[5] ^= std::byte{1};
  server.then(answer(200, text_of(object), pieces));
  EXPECT_THROW(store.get("k", body), Error);
}

TEST_F(HttpStorePartsTest, FetchNoticesAListThatPartsWouldFailOn) {
  Bytes buffer(kObject);
  const std::string whole = to_hex(xxh3_128(object));
  server.then(answer(200, text_of(object), checksums(object)));
  EXPECT_EQ(store.fetch("k", buffer)->checksum, ChecksumKind::pieces);
  server.then(answer(200, text_of(object), {{kWhole, whole}}));
  EXPECT_EQ(store.fetch("k", buffer)->checksum, ChecksumKind::whole);
  server.then(answer(200, text_of(object)));
  EXPECT_EQ(store.fetch("k", buffer)->checksum, ChecksumKind::none);
  for (const std::string& list : {PieceChecksums::of(pattern(kObject, 2))->to_text(),
                                  PieceChecksums::of(pattern(kObject - 1, 1))->to_text()}) {
    server.then(answer(200, text_of(object), {{kWhole, whole}, {kPieces, list}}));
    EXPECT_THROW(store.fetch("k", buffer), Error);
  }
}

TEST_F(HttpStorePartsTest, ChecksumsAreNoAttributes) {
  Bytes buffer(kObject);
  server.then(answer(200, text_of(object), checksums(object)));
  EXPECT_TRUE(store.fetch("k", buffer)->attributes.metadata.empty());
}

TEST_F(HttpStorePartsTest, AReadOfAnObjectThatWasReplacedIsAnError) {
  const auto with_etag = [&](const char* etag) {
    AnswerHeaders headers = checksums(object);
    headers.emplace_back("ETag", etag);
    return headers;
  };
  server.then(part_answer(object, 0, kPiece, with_etag("\"e1\"")));
  EXPECT_EQ(read(0, 10, "\"e1\""), expected(0, 10));
  EXPECT_EQ(server.requests().at(0).header("if-match"), "\"e1\"");
  server.then(error_answer(412, "PreconditionFailed"));
  EXPECT_TRUE(contains(refusal(0, 10, "\"e1\""), "replaced"));
  // A service that does not look at the condition.
  server.then(part_answer(object, 0, kPiece, with_etag("\"e2\"")));
  const std::string message = refusal(0, 10, "\"e1\"");
  EXPECT_TRUE(contains(message, "replaced") && contains(message, "Restart")) << message;
  server.then(error_answer(404, "NoSuchKey"));
  Bytes part(10);
  EXPECT_FALSE(store.get_range("k", part, {.object_bytes = object.size(), .etag = "\"e1\""}));
}

class HttpStorePartsRetryTest : public HttpStorePartsTest {
 protected:
  HttpStorePartsRetryTest() : HttpStorePartsTest(1) {}
};

TEST_F(HttpStorePartsRetryTest, WhatWasDamagedOnTheWayIsReadAgain) {
  Bytes bad = object;
  bad[0] ^= std::byte{1};
  server.then(part_answer(bad, 0, kPiece, checksums(object)));
  server.then(part_answer(object, 0, kPiece, checksums(object)));
  EXPECT_EQ(read(0, 100), expected(0, 100));
}

// The promise itself: whichever bit of the body flips, whatever part is read, by whatever version
// the object was stored, the part is right or there is an error.
TEST_F(HttpStorePartsTest, WhateverBitFlipsNoPartIsWrong) {
  std::mt19937_64 random(11);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    Bytes bad = object;
    bad[random() % kObject] ^= std::byte{1} << random() % 8;
    AnswerHeaders headers = checksums(object);
    if (random() % 2 == 0) headers.pop_back();
    const std::size_t offset = random() % kObject;
    const std::size_t length = 1 + random() % std::min<std::size_t>(kObject - offset, 2 * kPiece);
    const Range range = PieceChecksums::widened({offset, length}, kObject);
    server.then(part_answer(bad, range.offset, range.end(), headers));
    if (headers.size() == 1) server.then(answer(200, text_of(bad), headers));
    Bytes part(length);
    try {
      ASSERT_TRUE(store.get_range("k", part, {.offset = offset, .object_bytes = kObject}));
      ASSERT_EQ(part, expected(offset, length));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 300);
}

}  // namespace
}  // namespace nbdstack
