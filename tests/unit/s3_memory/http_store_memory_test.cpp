// Memory runs out once, at the n-th allocation of a request over HTTP, for every n: whether a
// change may have been done is told, nothing wrong is read, and the next request works.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "tests/unit/fakes/bytes_of.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack::testing {
namespace {

const std::string kBody(1000, 'b');
constexpr const char* kEtag = "\"00112233445566778899aabbccddeeff\"";

class HttpStoreMemory : public ::testing::Test {
 protected:
  using Request = std::function<void(HttpStore&, Doubt&)>;

  static std::unique_ptr<HttpStore> make_store(const ScriptedHttpServer& server, Clock& clock) {
    return std::make_unique<HttpStore>(
        HttpStoreConfig{
            .bucket = "disk",
            .location = testing::disk_at(server.url()),
            .credentials = std::make_shared<CredentialSource>(Credentials{"KEY", "SECRET", ""}),
            .retries = 0},
        clock);
  }

  static void expect_told(const Answer& each, const Request& request, bool changes) {
    const long count = for_every_allocation([&](long number) {
      std::vector<Answer> script(3, each);
      FakeClock clock;
      ScriptedHttpServer server(std::move(script));
      const auto store = make_store(server, clock);
      Doubt doubt;
      request(*store, doubt);  // makes the engine
      EXPECT_FALSE(doubt.is_open);
      bool failed = false;
      fail_allocation(number, Failing::in_this_thread);
      try {
        request(*store, doubt);
      } catch (const Error& error) {
        failed = true;
        EXPECT_TRUE(error.code() == ENOMEM || error.code() == EIO) << error.what();
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      const bool came = stop_failing() == 0;
      const bool has_arrived = server.requests().size() == 2;
      if (failed && changes && has_arrived) {
        EXPECT_TRUE(doubt.is_open) << "the change was done, and nobody is told that it may be";
      }
      request(*store, doubt);
      return came;
    });
    EXPECT_GT(count, 50);
  }
};

TEST_F(HttpStoreMemory, OfPuts) {
  for (const PutMode mode : {PutMode::replace, PutMode::create_only, PutMode::if_match}) {
    expect_told(
        answer(200, "", {{"ETag", kEtag}}),
        [&](HttpStore& store, Doubt& doubt) {
          PutOptions options{.mode = mode};
          if (mode == PutMode::if_match) options.etag = kEtag;
          options.doubt = &doubt;
          EXPECT_EQ(store.put("key", bytes_view(kBody), options).etag, kEtag);
        },
        true);
  }
}

TEST_F(HttpStoreMemory, OfRemovals) {
  expect_told(
      answer(204),
      [](HttpStore& store, Doubt& doubt) {
        const std::vector<Removal> one{{.key = "key", .etag = ""}};
        EXPECT_TRUE(store.remove_matching(one, doubt).empty());
      },
      true);
  expect_told(
      answer(200,
             "<DeleteResult><Error><Key>b</Key><Code>PreconditionFailed</Code></Error>"
             "</DeleteResult>"),
      [](HttpStore& store, Doubt& doubt) {
        const std::vector<Removal> two{{.key = "a", .etag = kEtag}, {.key = "b", .etag = kEtag}};
        EXPECT_EQ(store.remove_matching(two, doubt), std::vector<std::string>{"b"});
      },
      true);
}

TEST_F(HttpStoreMemory, OfReads) {
  const AnswerHeaders headers{{"ETag", kEtag},
                              {"x-amz-meta-nbdstack-xxh3", to_hex(xxh3_128(bytes_view(kBody)))}};
  expect_told(
      answer(200, kBody, headers),
      [](HttpStore& store, Doubt&) {
        std::vector<std::byte> body(kBody.size());
        EXPECT_TRUE(store.fetch("key", body).has_value());
        EXPECT_TRUE(std::equal(body.begin(), body.end(), bytes_view(kBody).begin()));
      },
      false);
  expect_told(
      error_answer(404, "NoSuchKey"),
      [](HttpStore& store, Doubt&) {
        std::vector<std::byte> body(kBody.size());
        EXPECT_FALSE(store.fetch("key", body).has_value());
      },
      false);
}

}  // namespace
}  // namespace nbdstack::testing
