// Buckets that keep what is replaced and removed: how their versions are listed and removed, and
// how it is noticed that a bucket is one of them.
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::contains;
using testing::error_answer;
using testing::kBytes;

const std::string kEnd = "</ListVersionsResult>";

std::string next(const std::string& key, const std::string& id) {
  return fmt::format(
      "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker>"
      "<NextVersionIdMarker>{}</NextVersionIdMarker>",
      key, id);
}

class HttpStoreVersionsTest : public testing::HttpStoreFixture {
 protected:
  // As "KEY ID", with '*' behind the latest, '-' behind markers.
  std::vector<std::string> listed(const std::string& prefix = "") {
    std::vector<std::string> lines;
    store().list_versions(prefix, [&](const ListedVersion& each) {
      lines.push_back(each.key + " " + each.version_id + (each.is_latest ? "*" : "") +
                      (each.is_marker ? "-" : ""));
      return true;
    });
    return lines;
  }
  std::string line(std::size_t request) { return server.requests().at(request).line; }
};

TEST_F(HttpStoreVersionsTest, AreListedOverAllPages) {
  server.then(answer(200,
                     "<?xml version=\"1.0\"?><ListVersionsResult>"
                     "<EncodingType>url</EncodingType>" +
                         next("a+%2B", "1") +
                         "<DeleteMarker><Key>a+%2B</Key><VersionId>2</VersionId>"
                         "<IsLatest>true</IsLatest></DeleteMarker>"
                         "<Version><Key>a+%2B</Key><VersionId>1</VersionId>"
                         "<IsLatest>false</IsLatest></Version>" +
                         kEnd));
  server.then(answer(200,
                     "<ListVersionsResult><Version><Key>a +</Key><VersionId>null</VersionId>"
                     "<IsLatest>false</IsLatest></Version>" +
                         kEnd));
  EXPECT_EQ(listed("a"), (std::vector<std::string>{"a + 2*-", "a + 1", "a + null"}));
  EXPECT_EQ(line(0), "GET /disk?encoding-type=url&max-keys=1000&prefix=a&versions= HTTP/1.1");
  EXPECT_EQ(line(1),
            "GET /disk?encoding-type=url&key-marker=a%20%2B&max-keys=1000&prefix=a"
            "&version-id-marker=1&versions= HTTP/1.1");
}

TEST_F(HttpStoreVersionsTest, AListingThatDoesNotGetOnIsAnError) {
  const std::string version = "<Version><Key>a</Key><VersionId>1</VersionId></Version>";
  const std::string begin = "<ListVersionsResult>";
  for (int i = 0; i < 4; ++i) server.then(answer(200, begin + next("a", "1") + version + kEnd));
  EXPECT_EQ(errno_of([&] { listed(); }), EIO);
  EXPECT_TRUE(contains(message, "does not end")) << message;
  for (int i = 0; i < 3; ++i) {
    server.then(answer(200, begin + version + "<IsTruncated>true</IsTruncated>" + kEnd));
  }
  EXPECT_EQ(errno_of([&] { listed(); }), EIO);
  EXPECT_TRUE(contains(message, "not how to ask for them")) << message;
  for (int i = 0; i < 3; ++i) server.then(answer(200, begin + version + kEnd));
  EXPECT_EQ(errno_of([&] { listed("b"); }), EIO);
  EXPECT_TRUE(contains(message, "does not begin with b")) << message;
  server.then(answer(200, begin + next("a", "") + version + kEnd));
  server.then(answer(200, begin + kEnd));
  EXPECT_EQ(listed().size(), 1U) << "a service may name the key alone";
}

TEST_F(HttpStoreVersionsTest, AServiceThatKnowsNoVersionsSaysSo) {
  server.then(answer(200, "<?xml version=\"1.0\"?><ListBucketResult></ListBucketResult>"));
  EXPECT_EQ(errno_of([&] { listed(); }), EIO);
  EXPECT_TRUE(contains(message, "where their versions were asked for")) << message;
  server.then(error_answer(501, "NotImplemented"));
  EXPECT_NE(errno_of([&] { listed(); }), 0);
  server.then(answer(200, "<html/>"));
  EXPECT_NE(errno_of([&] { listed(); }), 0);
}

TEST_F(HttpStoreVersionsTest, AreRemovedByTheirIds) {
  server.then(answer(200,
                     "<DeleteResult><Error><Key>a</Key><Code>NoSuchVersion</Code></Error>"
                     "</DeleteResult>"));
  Doubt doubt;
  const std::vector<Removal> two{{.key = "a", .version_id = "1"}, {.key = "a", .version_id = "2"}};
  EXPECT_TRUE(store().remove_matching(two, doubt).empty());
  EXPECT_TRUE(contains(server.requests().at(0).body,
                       "<Object><Key>a</Key><VersionId>1</VersionId></Object>"));
  server.then(answer(204, "", {{"x-amz-delete-marker", "true"}, {"x-amz-version-id", "1"}}));
  server.then(error_answer(404, "NoSuchVersion"));
  for (int i = 0; i < 2; ++i) store().remove_matching({two.data(), 1}, doubt);
  EXPECT_EQ(line(1), "DELETE /disk/a?versionId=1 HTTP/1.1");
  EXPECT_FALSE(store().keeps_versions()) << "what was removed was a marker";
}

TEST_F(HttpStoreVersionsTest, AreNoticedByAPutOrARemoval) {
  const std::vector<std::string> key{"k"};
  const auto put = [&](HttpStore& each) { each.put("k", kBytes, {}); };
  const auto create = [&](HttpStore& each) {
    each.put("k", kBytes, {.mode = PutMode::create_only});
  };
  const auto remove = [&](HttpStore& each) { each.remove(key); };
  const std::vector<std::tuple<testing::AnswerHeaders, std::function<void(HttpStore&)>, bool>>
      cases{
          {{}, put, false},
          {{{"x-amz-version-id", "null"}}, put, false},
          {{{"x-amz-version-id", "3HL4"}}, put, true},
          {{{"x-amz-version-id", "3HL4"}}, create, true},
          {{}, remove, false},
          {{{"x-amz-delete-marker", "true"}, {"x-amz-version-id", "null"}}, remove, true},
          {{{"x-amz-version-id", "3HL4"}}, remove, true},
      };
  for (const auto& [headers, change, keeps] : cases) {
    HttpStore each(config, clock);
    server.then(answer(200, "", headers));
    change(each);
    EXPECT_EQ(each.keeps_versions(), keeps);
  }
}

}  // namespace
}  // namespace nbdstack
