// What the store sends, and what it makes of answers - above all that nothing but the object, whole
// and unharmed, is ever taken for data. Retries, doubt and waiting: http_store_retry_test.cpp.
#include "plugins/s3/store/service/http_store.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "tests/unit/fakes/bytes_of.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::bytes_view;
using testing::error_answer;

constexpr const char* kChecksum = "x-amz-meta-nbdstack-xxh3";

std::string checksum_of(const std::string& text) {
  return to_hex(xxh3_128(bytes_view(text)));
}

// Each operation is one attempt.
class HttpStoreTest : public testing::HttpStoreFixture {
 protected:
  HttpStoreTest() { config.retries = 0; }

  bool message_has(const std::string& part) const {
    return message.find(part) != std::string::npos;
  }
};

TEST_F(HttpStoreTest, GetReadsTheObject) {
  server.then(answer(200, "12345678", {{kChecksum, checksum_of("12345678")}}));
  EXPECT_TRUE(store().get("vol/a b", body));
  EXPECT_EQ(body.front(), std::byte{'1'});
  EXPECT_EQ(server.requests().at(0).line, "GET /disk/vol/a%20b HTTP/1.1");
  EXPECT_NE(server.requests().at(0).header("authorization").find("Credential=KEY/"),
            std::string::npos);
}

TEST_F(HttpStoreTest, ObjectWithoutAChecksumIsRead) {
  server.then(answer(200, "12345678"));
  EXPECT_TRUE(store().get("k", body));
}

TEST_F(HttpStoreTest, CorruptedObjectIsAnErrorThatNamesIt) {
  server.then(answer(200, "12345678", {{kChecksum, checksum_of("12345679")}}));
  EXPECT_EQ(errno_of([&] { store().get("vol/7", body); }), EIO);
  EXPECT_TRUE(message_has("s3://disk/vol/7") && message_has("corrupted")) << message;
}

TEST_F(HttpStoreTest, ObjectOfAnotherSizeIsAnError) {
  server.then(answer(200, "1234567"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  server.then(answer(200, "123456789"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  EXPECT_TRUE(message_has("longer than 8 bytes")) << message;
}

TEST_F(HttpStoreTest, BodyThatIsCutShortIsAnError) {
  server.then(answer(200, "12345678").close_after(7));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
}

TEST_F(HttpStoreTest, BodyOfUnknownLengthThatIsCutShortIsAnError) {
  Answer cut = answer(200, "1234567").close_after(7);
  cut.head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
  server.then(std::move(cut));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
}

TEST_F(HttpStoreTest, SuccessOfAnotherKindIsNoObject) {
  for (const int status : {201, 204, 206}) {
    server.then(answer(status, status == 204 ? "" : "12345678"));
    EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO) << status;
  }
}

TEST_F(HttpStoreTest, MissingObjectIsSaidByTheService) {
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_FALSE(store().get("k", body));
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_FALSE(store().get_range("k", body, {.offset = 0, .object_bytes = 4096}));
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_EQ(store().size_of("k"), std::nullopt);
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_EQ(store().get_text("k", 9), std::nullopt);
  server.then(answer(404, "", {{"x-amz-request-id", "1"}}));
  EXPECT_FALSE(store().get("k", body));
}

// A missing object reads as zeros: a proxy's 404 must not make a disk of zeros.
TEST_F(HttpStoreTest, NotFoundOfSomethingElseIsAnError) {
  server.then(answer(404, "<html>nginx</html>"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  server.then(answer(404));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  server.then(error_answer(404, "NoSuchBucket"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), ENOENT);
  EXPECT_TRUE(message_has("NoSuchBucket")) << message;
}

// An object that is too long to have checksums of pieces, so that what is asked for is what is
// wanted.
constexpr std::uint64_t kLongObject = 68719476736;

TEST_F(HttpStoreTest, RangeIsAskedForAndReadExactly) {
  server.then(answer(206, "12345678", {{"Content-Range", "bytes 100-107/68719476736"}}));
  EXPECT_TRUE(store().get_range("k", body, {.offset = 100, .object_bytes = kLongObject}));
  EXPECT_EQ(server.requests().at(0).header("range"), "bytes=100-107");
}

TEST_F(HttpStoreTest, WrongRangeIsAnError) {
  const ObjectPart part{.offset = 100, .object_bytes = kLongObject};
  for (const char* range :
       {"bytes 0-7/68719476736", "bytes 100-106/68719476736", "bytes 100-1070/68719476736", "",
        "bytes 100-107/*", "bytes 100-107/68719476735"}) {
    server.then(answer(206, "12345678", {{"Content-Range", range}}));
    EXPECT_EQ(errno_of([&] { store().get_range("k", body, part); }), EIO) << range;
  }
  server.then(answer(206, "1234567", {{"Content-Range", "bytes 100-107/68719476736"}}));
  EXPECT_EQ(errno_of([&] { store().get_range("k", body, part); }), EIO);
}

TEST_F(HttpStoreTest, WholeObjectWhereARangeWasAskedIsAnError) {
  server.then(answer(200, "12345678"));
  EXPECT_EQ(errno_of([&] { store().get_range("k", body, {.offset = 0, .object_bytes = 4096}); }),
            EIO);
  server.then(error_answer(416, "InvalidRange"));
  EXPECT_EQ(errno_of([&] { store().get_range("k", body, {.offset = 0, .object_bytes = 4096}); }),
            EIO);
}

TEST_F(HttpStoreTest, SizeComesFromTheContentRange) {
  server.then(answer(206, "1", {{"Content-Range", "bytes 0-0/68719476736"}}));
  EXPECT_EQ(store().size_of("k"), 68719476736U);
  server.then(error_answer(416, "InvalidRange"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  const auto empty = store().look_up("empty");
  EXPECT_EQ(empty->size_bytes, 0U);
  EXPECT_EQ(empty->etag, "\"1\"") << "which an error does not tell";
  server.then(answer(206, "1", {{"Content-Range", "bytes 0-0/*"}}));
  EXPECT_EQ(errno_of([&] { (void)store().size_of("k"); }), EIO);
}

TEST_F(HttpStoreTest, TextBeyondItsLimitIsAnError) {
  server.then(answer(200, "1234"));
  EXPECT_EQ(store().get_text("k", 4), "1234");
  server.then(answer(200, "12345"));
  EXPECT_EQ(errno_of([&] { store().get_text("k", 4); }), EIO);
  server.then(answer(200, "1234", {{kChecksum, checksum_of("1235")}}));
  EXPECT_EQ(errno_of([&] { store().get_text("k", 4); }), EIO);
}

TEST_F(HttpStoreTest, PutSendsEveryChecksum) {
  server.then(answer(200));
  EXPECT_EQ(store().put("k", bytes_view("Welcome to Amazon S3."), {}).result, PutResult::stored);
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.line, "PUT /disk/k HTTP/1.1");
  EXPECT_EQ(request.body, "Welcome to Amazon S3.");
  EXPECT_EQ(request.header("x-amz-content-sha256"),
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  EXPECT_EQ(request.header("content-md5"), "1EfQ6PKJ8WoS/2AnznfCWA==");
  EXPECT_EQ(request.header(kChecksum), checksum_of("Welcome to Amazon S3."));
  EXPECT_EQ(request.header("if-none-match"), "");
  EXPECT_EQ(request.header("expect"), "");
}

TEST_F(HttpStoreTest, CreateOnlyDoesNotReplace) {
  server.then(answer(200));
  EXPECT_EQ(store().put("k", bytes_view("x"), {.mode = PutMode::create_only}).result,
            PutResult::stored);
  EXPECT_EQ(server.requests().at(0).header("if-none-match"), "*");
  server.then(error_answer(412, "PreconditionFailed"));
  EXPECT_EQ(store().put("k", bytes_view("x"), {.mode = PutMode::create_only}).result,
            PutResult::exists);
}

TEST_F(HttpStoreTest, AttributesGoAndComeAsHeaders) {
  server.then(answer(200, "", {{"ETag", "\"e1\""}}));
  const PutOptions options{.attributes = {.content_type = "application/x-s3backer-block",
                                          .content_encoding = "deflate",
                                          .metadata = {{"s3backer-blocksize", "4096"}}},
                           .with_checksum = false};
  EXPECT_EQ(store().put("k", bytes_view("x"), options).etag, "\"e1\"");
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.header("content-type"), "application/x-s3backer-block");
  EXPECT_EQ(request.header("content-encoding"), "deflate");
  EXPECT_EQ(request.header("x-amz-meta-s3backer-blocksize"), "4096");
  EXPECT_EQ(request.header(kChecksum), "");

  std::array<std::byte, 8> buffer{};
  server.then(answer(200, "12345",
                     {{"ETag", "\"e2\""},
                      {"Content-Encoding", "zstd"},
                      {"x-amz-meta-s3backer-hmac", "\"00\""},
                      {kChecksum, checksum_of("12345")}}));
  const auto object = store().fetch("k", buffer);
  ASSERT_TRUE(object.has_value());
  EXPECT_EQ(object->size_bytes, 5U);
  EXPECT_EQ(object->etag, "\"e2\"");
  EXPECT_EQ(object->attributes.content_encoding, "zstd");
  EXPECT_EQ(object->attributes.metadata_of("s3backer-hmac"), "\"00\"");
  EXPECT_EQ(object->attributes.metadata.size(), 1U) << "the store's own checksum is no attribute";
}

TEST_F(HttpStoreTest, FetchRefusesWhatIsLongerOrDamaged) {
  std::array<std::byte, 4> buffer{};
  server.then(answer(200, "12345"));
  EXPECT_EQ(errno_of([&] { store().fetch("k", buffer); }), EIO);
  server.then(answer(200, "1234", {{kChecksum, checksum_of("1235")}}));
  EXPECT_EQ(errno_of([&] { store().fetch("k", buffer); }), EIO);
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_FALSE(store().fetch("k", buffer).has_value());
}

TEST_F(HttpStoreTest, PutOverAnEtagIsConditional) {
  const PutOptions over_e1{.mode = PutMode::if_match, .etag = "e1"};
  server.then(answer(200, "", {{"ETag", "\"e2\""}}));
  const PutOutcome stored = store().put("k", bytes_view("x"), over_e1);
  EXPECT_EQ(stored.result, PutResult::stored);
  EXPECT_EQ(stored.etag, "\"e2\"");
  EXPECT_EQ(server.requests().at(0).header("if-match"), "e1");
  for (const int status : {412, 404}) {
    server.then(error_answer(status, status == 404 ? "NoSuchKey" : "PreconditionFailed"));
    EXPECT_EQ(store().put("k", bytes_view("x"), over_e1).result, PutResult::changed) << status;
  }
  server.then(error_answer(501, "NotImplemented"));
  EXPECT_EQ(store().put("k", bytes_view("x"), over_e1).result, PutResult::unsupported);
  server.then(error_answer(404, "NoSuchBucket"));
  EXPECT_EQ(errno_of([&] { store().put("k", bytes_view("x"), over_e1); }), ENOENT);
}

TEST_F(HttpStoreTest, ServiceWithoutConditionsSaysSo) {
  server.then(error_answer(501, "NotImplemented"));
  EXPECT_EQ(store().put("k", bytes_view("x"), {.mode = PutMode::create_only}).result,
            PutResult::unsupported);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(HttpStoreTest, RemovalOfManyIsOneRequest) {
  server.then(answer(200, "<DeleteResult/>"));
  store().remove(std::vector<std::string>{"a", "b&"});
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.line, "POST /disk?delete= HTTP/1.1");
  EXPECT_NE(request.body.find("<Key>b&amp;</Key>"), std::string::npos);
  EXPECT_NE(request.header("content-md5"), "");
}

TEST_F(HttpStoreTest, RemovalIsSplitAtAThousandKeysAtMost) {
  for (int i = 0; i < 3; ++i) server.then(answer(200, "<DeleteResult/>"));
  server.then(answer(204));
  std::vector<std::string> keys(250 + 500 + 1000 + 1, "k");
  keys.back() = "last";
  store().remove(keys);
  EXPECT_EQ(server.requests().at(3).line, "DELETE /disk/last HTTP/1.1");
}

TEST_F(HttpStoreTest, KeyThatWasNotRemovedIsAnErrorThatNamesIt) {
  server.then(answer(200,
                     "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code></Error>"
                     "</DeleteResult>"));
  EXPECT_EQ(errno_of([&] { store().remove(std::vector<std::string>{"a", "b"}); }), EACCES);
  EXPECT_TRUE(message_has("b was not removed")) << message;
}

TEST_F(HttpStoreTest, RemovalOfCertainVersionsNamesThemAndTellsThoseThatAreOthers) {
  server.then(answer(200,
                     "<DeleteResult><Error><Key>b</Key><Code>PreconditionFailed</Code></Error>"
                     "<Error><Key>c</Key><Code>NoSuchKey</Code></Error></DeleteResult>"));
  Doubt doubt;
  const std::vector<Removal> removals{{"a", "\"1\""}, {"b", "\"2\""}, {"c", "\"3\""}, {"d", ""}};
  EXPECT_EQ(store().remove_matching(removals, doubt), std::vector<std::string>{"b"});
  EXPECT_FALSE(doubt.is_open);
  const std::string sent = server.requests().at(0).body;
  EXPECT_NE(sent.find("<Key>a</Key><ETag>\"1\"</ETag>"), std::string::npos) << sent;
  EXPECT_NE(sent.find("<Key>d</Key></Object>"), std::string::npos) << sent;
  server.then(answer(200, "<DeleteResult/>"));
  EXPECT_TRUE(store().remove_matching(std::span(removals).first(1), doubt).empty());
  EXPECT_EQ(server.requests().at(1).line, "POST /disk?delete= HTTP/1.1");
}

TEST_F(HttpStoreTest, RemovalOfAMissingObjectIsNoFailure) {
  server.then(error_answer(404, "NoSuchKey"));
  store().remove(std::vector<std::string>{"a"});
}

TEST_F(HttpStoreTest, WebServerIsNoBucket) {
  server.then(answer(200, "<html/>"));
  EXPECT_EQ(errno_of([&] { store().check_bucket(""); }), EIO);
  EXPECT_TRUE(message_has("endpoint-url")) << message;
}

TEST_F(HttpStoreTest, WrongKeyIsRefusedAndTheSecretStaysSecret) {
  server.then(error_answer(403, "SignatureDoesNotMatch"));
  EXPECT_EQ(errno_of([&] { store().check_bucket(""); }), EACCES);
  EXPECT_TRUE(message_has("SignatureDoesNotMatch")) << message;
  EXPECT_FALSE(message_has("SECRET")) << message;
}

}  // namespace
}  // namespace nbdstack
