// Listings of a service: in order, in an order of its own, without an end, with and without
// delimiters, whatever keys are made of.
#include "plugins/s3/store/service/list_page.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::contains;
using testing::LogOfErrors;

using Names = std::vector<std::string>;

// A page of keys, and of common prefixes; with a token, more follows.
std::string page(const Names& keys, const std::string& token = "", const Names& prefixes = {}) {
  std::string text = "<ListBucketResult>";
  for (const std::string& key : keys) {
    text += fmt::format("<Contents><Key>{}</Key><Size>1</Size></Contents>", key);
  }
  for (const std::string& prefix : prefixes) {
    text += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", prefix);
  }
  if (!token.empty()) {
    text += fmt::format(
        "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>", token);
  }
  return text + "</ListBucketResult>";
}

class HttpStoreListingTest : public testing::HttpStoreFixture {
 protected:
  Names listed(const std::string& prefix = "", const std::string& start_after = "") {
    Names keys;
    store().list(prefix, start_after, [&](const ListedObject& object) {
      keys.push_back(object.key);
      return true;
    });
    return keys;
  }
  void expect_failure(const std::string& words, const std::function<void()>& call) {
    EXPECT_EQ(errno_of(call), EIO);
    EXPECT_TRUE(contains(message, words)) << message;
  }
  void answer_often(const std::string& text, int times = 3) {
    for (int i = 0; i < times; ++i) server.then(answer(200, text));
  }
  std::string line(std::size_t request) { return server.requests().at(request).line; }

  LogOfErrors log;
};

TEST_F(HttpStoreListingTest, GoesOverAllPages) {
  server.then(answer(200, page({"b", "c"}, "t=1")));
  server.then(answer(200, page({"d"})));
  EXPECT_EQ(listed("", "a"), (Names{"b", "c", "d"}));
  EXPECT_EQ(line(0),
            "GET /disk?encoding-type=url&list-type=2&max-keys=1000&prefix=&start-after=a HTTP/1.1");
  EXPECT_TRUE(contains(line(1), "?continuation-token=t%3D1&"));
}

// The first page is held back until the second shows that the keys go on in order, once.
TEST_F(HttpStoreListingTest, StopsWhenTheVisitorHasSeenEnough) {
  for (int listing = 0; listing < 2; ++listing) {
    server.then(answer(200, page({"a", "b"}, "t")));
    if (listing == 0) server.then(answer(200, page({"c"})));
    unsigned seen = 0;
    store().list("", "", [&](const ListedObject&) { return ++seen < 2; });
    EXPECT_EQ(seen, 2U);
  }
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(HttpStoreListingTest, KeysMayHaveAnyBytes) {
  const Names keys{"a\n",    "a/\xc3\x84", "a/\xef\xbf\xbd", "a/\xf0\x9f\x92\xbe",
                   "a/\xff", "b \r+%\x01"};
  std::string encoded = "<ListBucketResult><EncodingType>url</EncodingType>";
  for (const std::string& key : keys) {
    encoded += "<Contents><Key>";
    for (const char c : key) encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    encoded += "</Key></Contents>";
  }
  server.then(answer(200, encoded + "</ListBucketResult>"));
  EXPECT_EQ(listed(), keys);
  // The same by a service that does not encode, as far as XML can write them.
  server.then(answer(200, page({"a&#10;", "a/\xc3\x84", "a/\xff", "b &#13;+%&#1;"})));
  EXPECT_EQ(listed(), (Names{"a\n", "a/\xc3\x84", "a/\xff", "b \r+%\x01"}));
}

// --- Without an end ---

TEST_F(HttpStoreListingTest, ATokenThatWasUsedIsAnError) {
  server.then(answer(200, page({"a"}, "t")));
  answer_often(page({"b"}, "t"));
  expect_failure("continuation token t has been asked for already", [&] { listed(); });
  for (const bool has_keys : {true, false}) {
    server.then(answer(200, page({"a"}, "t")));
    server.then(answer(200, page(has_keys ? Names{"b"} : Names(), "u")));
    answer_often(page(has_keys ? Names{"c"} : Names(), "t"));
    expect_failure("continuation token t has been asked for already", [&] { listed(); });
  }
}

TEST_F(HttpStoreListingTest, EmptyPagesEndSomewhere) {
  for (int i = 0; i < 999; ++i) server.then(answer(200, page({}, std::to_string(i))));
  answer_often(page({}, "x"));
  expect_failure("1000 pages without a key", [&] { listed(); });
}

TEST_F(HttpStoreListingTest, SomeEmptyPagesAreNoFault) {
  for (int i = 0; i < 900; ++i) server.then(answer(200, page({}, std::to_string(i))));
  server.then(answer(200, page({"a"}, "t")));
  for (int i = 0; i < 900; ++i) server.then(answer(200, page({}, "u" + std::to_string(i))));
  server.then(answer(200, page({"b"})));
  EXPECT_EQ(listed(), (Names{"a", "b"}));
}

// A service that pays no heed to the token, but makes a new one each time.
TEST_F(HttpStoreListingTest, APageThatComesAgainIsAnErrorInEveryOrder) {
  for (const bool unsorted : {false, true}) {
    config.lists_unsorted = unsorted;
    HttpStore each(config, clock);
    server.then(answer(200, page({"b", "a"}, "t")));
    if (!unsorted) {
      answer_often(page({"b", "a"}, "t"), 2);
      server.then(answer(200, page({"b", "a"}, "t")));  // as it comes
    }
    for (int i = 0; i < 3; ++i) server.then(answer(200, page({"b", "a"}, "t" + std::to_string(i))));
    expect_failure("a page before began with b, too",
                   [&] { each.list("", "", [](const ListedObject&) { return true; }); });
  }
}

TEST_F(HttpStoreListingTest, MoreWithoutAWayThereIsAnErrorInEveryOrder) {
  config.lists_unsorted = true;
  answer_often("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>");
  expect_failure("not how to ask for them", [&] { listed(); });
}

// --- In an order of its own ---

TEST_F(HttpStoreListingTest, AnOrderOfItsOwnIsFoundOutOnceAndSortedHere) {
  answer_often(page({"v/3", "v/1"}, "t"));
  server.then(answer(200, page({"v/3", "v/1"}, "t")));
  server.then(answer(200, page({"v/0", "v/2", "v/2"})));
  EXPECT_EQ(listed("v/", "v/0"), (Names{"v/1", "v/2", "v/3"}));
  EXPECT_FALSE(store().lists_in_order());
  EXPECT_TRUE(contains(line(2), "start-after=v%2F0"));
  EXPECT_FALSE(contains(line(3), "start-after")) << "which has no meaning there";
  server.then(answer(200, page({"v/3", "v/1"})));
  EXPECT_EQ(listed("v/", "v/1"), Names{"v/3"});
  EXPECT_EQ(server.requests().size(), 6U);
  EXPECT_EQ(log.count({"v/1 was listed where what follows v/3", "an order of its own"}), 1U);
}

TEST_F(HttpStoreListingTest, AServiceThatBeginsAtTheBeginningIsListedAsOneWithoutOrder) {
  answer_often(page({"v/0", "v/1", "v/2"}));
  server.then(answer(200, page({"v/0", "v/1", "v/2"})));
  EXPECT_EQ(listed("v/", "v/1"), Names{"v/2"});
}

TEST_F(HttpStoreListingTest, KnownBeforehandItCostsNothing) {
  config.lists_unsorted = true;
  server.then(answer(200, page({"v/1b", "w", "v/1a"})));
  EXPECT_EQ(errno_of([&] { listed("v/1"); }), EIO) << "w was not asked for";
  HttpStore each(config, clock);
  server.then(answer(200, page({"v/1b", "v/2", "v/1a"})));
  Names keys;
  each.list_in_any_order("v/1", [&](const ListedObject& object) {
    keys.push_back(object.key);
    return true;
  });
  EXPECT_EQ(keys, (Names{"v/1b", "v/1a"}));
  EXPECT_TRUE(contains(server.requests().back().line, "prefix=v%2F "))
      << "S3 Express knows no other prefixes: " << server.requests().back().line;
}

TEST_F(HttpStoreListingTest, AServiceThatRefusesToListAPartIsListedAsOneWithoutOrder) {
  for (const auto& [prefix, after] : {std::pair{"v/1", ""}, {"v/", "v/1"}}) {
    HttpStore each(config, clock);
    server.then(testing::error_answer(400, "InvalidRequest"));
    server.then(answer(200, page({"v/2", "v/12"})));
    Names keys;
    each.list(prefix, after, [&](const ListedObject& object) {
      keys.push_back(object.key);
      return true;
    });
    EXPECT_EQ(keys.front(), "v/12");
  }
  server.then(testing::error_answer(400, "InvalidRequest"));
  EXPECT_NE(errno_of([&] { listed("v/"); }), 0) << "that is no part";
  EXPECT_TRUE(store().lists_in_order());
}

// Sorted within pages, and not between them.
TEST_F(HttpStoreListingTest, TheSecondPageIsLookedAtBeforeTheFirstIsHandedOn) {
  server.then(answer(200, page({"c", "d"}, "t")));
  answer_often(page({"a", "b"}));
  server.then(answer(200, page({"c", "d"}, "t")));
  server.then(answer(200, page({"a", "b"})));
  EXPECT_EQ(listed(), (Names{"a", "b", "c", "d"}));
}

TEST_F(HttpStoreListingTest, AnOrderThatEndsLaterIsAnErrorAndKnownFromThenOn) {
  server.then(answer(200, page({"c"}, "t")));
  server.then(answer(200, page({"d"}, "u")));
  answer_often(page({"a"}));
  expect_failure("has to begin anew", [&] { listed(); });
  server.then(answer(200, page({"c", "d", "a"})));
  EXPECT_EQ(listed(), (Names{"a", "c", "d"}));
}

TEST_F(HttpStoreListingTest, ABreakInTheOrderThatPassesIsNone) {
  server.then(answer(200, page({"b", "a"})));
  server.then(answer(200, page({"b", "a"})));
  server.then(answer(200, page({"a", "b"})));
  EXPECT_EQ(listed(), (Names{"a", "b"}));
  EXPECT_TRUE(store().lists_in_order());
}

TEST_F(HttpStoreListingTest, WhoWantsNoOrderGetsItAsItComes) {
  config.lists_unsorted = true;
  server.then(answer(200, page({"c", "a"}, "t")));
  server.then(answer(200, page({"b"})));
  Names keys;
  store().list_in_any_order("", [&](const ListedObject& object) {
    keys.push_back(object.key);
    return true;
  });
  EXPECT_EQ(keys, (Names{"c", "a", "b"}));
  EXPECT_FALSE(store().list_in_order("", "", [](const ListedObject&) { return true; }));
}

TEST_F(HttpStoreListingTest, MoreThanMemoryIsMeantForIsAnError) {
  config.lists_unsorted = true;
  constexpr std::size_t kAPage = 10'000;
  for (std::size_t first = 0; first <= ObjectStore::kSorted_max; first += kAPage) {
    Names keys;
    for (std::size_t i = 0; i < kAPage; ++i) keys.push_back(std::to_string(first + i));
    server.then(answer(200, page(keys, "t" + std::to_string(first))));
  }
  expect_failure("more than 1000000 objects", [&] { listed(); });
}

// --- Directories ---

TEST_F(HttpStoreListingTest, DirectoriesTakeOneRequestForAll) {
  server.then(answer(200, page({"k/file"}, "t", {"k/a-b/", "k/b/"})));
  server.then(answer(200, page({}, "", {"k/a/", "k/b/"})));
  EXPECT_EQ(store().directories_below("k/"), (Names{"a-b", "a", "b"}));
  EXPECT_TRUE(contains(line(0), "?delimiter=%2F&"));
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(HttpStoreListingTest, DirectoriesAreCountedAmongTheKeysOrNot) {
  const auto counted = [](int keys) {
    std::string text = page({"k/file"}, "", {"k/a/", "k/b/"});
    return text.insert(text.find('>') + 1, fmt::format("<KeyCount>{}</KeyCount>", keys));
  };
  for (const int keys : {1, 3}) {
    server.then(answer(200, counted(keys)));
    EXPECT_EQ(store().directories_below("k/"), (Names{"a", "b"}));
  }
  answer_often(counted(2));
  expect_failure("2 keys are announced, and 3 listed", [&] { store().directories_below("k/"); });
}

TEST_F(HttpStoreListingTest, AServiceWithoutDelimitersIsAskedToStepOverDirectories) {
  server.then(answer(200, page({"a/1", "b/1", "b/2"}, "t")));
  server.then(answer(200, page({"a/1"})));
  server.then(answer(200, page({"b/1", "b/2"})));
  server.then(answer(200, page({})));
  EXPECT_EQ(store().directories_below(""), (Names{"a", "b"}));
  EXPECT_TRUE(contains(line(2), "start-after=a0"));
  EXPECT_TRUE(contains(line(3), "start-after=b0"));
  server.then(answer(200, page({"a/1", "b/1", "b/2", "c"})));
  EXPECT_EQ(store().directories_below(""), (Names{"a", "b"})) << "one page shows all";
}

TEST_F(HttpStoreListingTest, AServiceThatShowsADirectoryAgainAndAgainIsAskedToStepOverIt) {
  server.then(answer(200, page({}, "t", {"a/"})));
  server.then(answer(200, page({}, "u", {"a/"})));
  server.then(answer(200, page({"a/1"})));
  server.then(answer(200, page({"b/1"})));
  server.then(answer(200, page({})));
  EXPECT_EQ(store().directories_below(""), (Names{"a", "b"}));
  config.lists_unsorted = true;
  HttpStore each(config, clock);
  for (int i = 0; i < 1001; ++i) server.then(answer(200, page({}, std::to_string(i), {"a/"})));
  expect_failure("does not end", [&] { each.directories_below(""); });
}

TEST_F(HttpStoreListingTest, WithoutOrderAndDelimitersAllIsListedOnce) {
  config.lists_unsorted = true;
  server.then(answer(200, page({"b/1", "a/1"}, "t")));
  server.then(answer(200, page({"b/2"})));
  EXPECT_EQ(store().directories_below(""), (Names{"a", "b"}));
}

TEST_F(HttpStoreListingTest, DirectoriesWithoutAnEndAreAnError) {
  server.then(answer(200, page({}, "t", {"a/"})));
  answer_often(page({}, "t", {"b/"}));
  expect_failure("does not end", [&] { store().directories_below(""); });
  answer_often(page({}, "", {"a/"}));
  expect_failure("does not begin with k/", [&] { store().directories_below("k/"); });
}

}  // namespace
}  // namespace nbdstack
