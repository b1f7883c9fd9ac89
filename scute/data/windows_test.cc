#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <limits>
#include <numeric>
#include <set>
#include <thread>
#include <tuple>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/random.h"
#include "scute/data/documents.h"
#include "scute/io/file.h"
#include "scute/text/testing.h"

namespace scute::windows_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int64_t kVocabulary = 1000000;

/// `count` documents of `length` tokens; document d holds 1000·d, 1000·d + 1, …
std::vector<Document> numbered(int count, int length) {
  std::vector<Document> documents;
  for (int d = 0; d < count; ++d) {
    Ids ids(static_cast<size_t>(length));
    std::iota(ids.begin(), ids.end(), 1000 * d);
    documents.push_back({.text = {}, .ids = ids, .file = "f", .number = d});
  }
  return documents;
}

WindowOptions in_file_order(int64_t samples, int64_t seqlen) {
  WindowOptions options;
  options.samples = samples;
  options.seqlen = seqlen;
  options.shuffle = std::nullopt;
  return options;
}

Windows cut(const std::vector<Document>& documents, const WindowOptions& options) {
  return cut_windows(documents, nullptr, options, kVocabulary);
}

std::vector<int64_t> order_of(const Windows& windows) {
  std::vector<int64_t> order;
  for (const Window& window : windows.windows) order.push_back(window.document);
  return order;
}

std::string error_of(const std::vector<Document>& documents, const WindowOptions& options,
                     int64_t vocabulary = kVocabulary) {
  try {
    cut_windows(documents, nullptr, options, vocabulary);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Windows, HoldTheFirstTokensOfEachDocument) {
  const Windows windows = cut(numbered(3, 10), in_file_order(2, 4));
  ASSERT_EQ(windows.windows.size(), 2u);
  EXPECT_THAT(windows.windows[0].ids, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(windows.windows[1].ids, ElementsAre(1000, 1001, 1002, 1003));
  EXPECT_EQ(windows.windows[1].document, 1);
  EXPECT_EQ(windows.windows[1].start, 0);
  EXPECT_EQ(windows.documents, 3);
  EXPECT_EQ(windows.short_documents, 0);
}

TEST(Windows, OfOneDocumentFollowEachOtherWithoutOverlap) {
  WindowOptions options = in_file_order(100, 4);
  options.windows_per_document = 3;
  const Windows windows = cut(numbered(2, 10), options);
  ASSERT_EQ(windows.windows.size(), 6u);
  EXPECT_THAT(windows.windows[1].ids, ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(windows.windows[2].ids, ElementsAre(8, 9)) << "the last may be short";
  EXPECT_EQ(windows.windows[2].start, 8);
  EXPECT_EQ(windows.short_documents, 2);
  EXPECT_EQ(cut(numbered(2, 8), options).windows.size(), 4u) << "none is empty";
}

TEST(Windows, StopAtTheNumberOfSamplesAlsoWithinADocument) {
  WindowOptions options = in_file_order(4, 2);
  options.windows_per_document = 3;
  EXPECT_THAT(order_of(cut(numbered(3, 10), options)), ElementsAre(0, 0, 0, 1));
}

TEST(Windows, FewerDocumentsThanSamplesAreAllUsedOnce) {
  WindowOptions options;
  options.samples = 512;
  options.seqlen = 4;
  std::vector<int64_t> order = order_of(cut(numbered(20, 10), options));
  std::sort(order.begin(), order.end());
  std::vector<int64_t> all(20);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
}

TEST(Windows, TheSeedDecidesTheOrder) {
  const auto documents = numbered(50, 4);
  const auto with_seed = [&](std::optional<uint64_t> seed) {
    WindowOptions options = in_file_order(50, 4);
    options.shuffle = seed;
    return cut(documents, options);
  };
  EXPECT_EQ(hash_windows(with_seed(42)), hash_windows(with_seed(42)));
  EXPECT_NE(hash_windows(with_seed(42)), hash_windows(with_seed(43)));
  std::vector<int64_t> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order_of(with_seed(std::nullopt)), expected);
  Random(42).shuffle(std::span(expected));
  EXPECT_EQ(order_of(with_seed(42)), expected) << "the shuffle is the one base/random.h defines";
}

TEST(Windows, TakeAndSkipPartitionTheData) {
  auto documents = numbered(30, 10);
  documents[4].ids->clear();
  documents[17].ids->clear();
  WindowOptions options;
  options.samples = 1000;
  options.seqlen = 4;
  options.windows_per_document = 5;
  const Windows whole = cut(documents, options);
  std::vector<Window> joined;
  int64_t empty = 0, shorter = 0;
  for (const auto& [skip, take] : {std::pair<int64_t, int64_t>{0, 7}, {7, 12}, {19, 100}}) {
    options.skip = skip;
    options.take = take;
    const Windows part = cut(documents, options);
    joined.insert(joined.end(), part.windows.begin(), part.windows.end());
    empty += part.empty_documents;
    shorter += part.short_documents;
  }
  EXPECT_EQ(empty, whole.empty_documents);
  EXPECT_EQ(shorter, whole.short_documents);
  EXPECT_EQ(hash_windows(Windows{.windows = joined}), hash_windows(whole));
}

TEST(Windows, EmptyDocumentsAreSkippedAndCounted) {
  auto documents = numbered(4, 3);
  documents[0].ids->clear();
  documents[2].ids->clear();
  const Windows windows = cut(documents, in_file_order(10, 3));
  EXPECT_THAT(order_of(windows), ElementsAre(1, 3));
  EXPECT_EQ(windows.empty_documents, 2);
}

TEST(Windows, NothingLeftIsAnError) {
  EXPECT_THAT(error_of({}, in_file_order(1, 1)), HasSubstr("none of 0"));
  WindowOptions options = in_file_order(1, 1);
  options.skip = 3;
  EXPECT_THAT(error_of(numbered(3, 2), options), HasSubstr("none of 3 (skip 3, take all"));
  options.skip = 0;
  options.take = 0;
  EXPECT_THAT(error_of(numbered(3, 2), options), HasSubstr("take 0"));
  EXPECT_THAT(error_of(numbered(3, 0), in_file_order(1, 1)), HasSubstr("3 empty"));
}

TEST(Windows, AnIdOutsideTheVocabularyIsAnErrorThatNamesTheDocument) {
  EXPECT_EQ(error_of(numbered(2, 3), in_file_order(9, 3), 1002),
            "f: document 1: expected token ids from 0 to 1001 (the model's vocabulary is 1002), "
            "found id 1002 at 2");
  EXPECT_EQ(error_of(numbered(2, 3), in_file_order(9, 3), 1003), "no error");
  auto negative = numbered(1, 3);
  negative[0].ids->back() = -5;
  EXPECT_THAT(error_of(negative, in_file_order(1, 1)), HasSubstr("found id -5"));
}

TEST(Windows, OptionsOutOfRangeAreRefusedByName) {
  const auto documents = numbered(2, 3);
  WindowOptions options;
  EXPECT_THAT(error_of(documents, in_file_order(0, 1)), HasSubstr("samples: expected at least 1"));
  EXPECT_THAT(error_of(documents, in_file_order(1, 0)), HasSubstr("seqlen: expected at least 1"));
  options.skip = -1;
  EXPECT_THAT(error_of(documents, options), HasSubstr("skip: expected at least 0"));
  options = {};
  options.take = -1;
  EXPECT_THAT(error_of(documents, options), HasSubstr("take"));
  options = {};
  options.windows_per_document = 0;
  EXPECT_THAT(error_of(documents, options), HasSubstr("windows_per_document"));
  options = in_file_order(std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max());
  options.skip = 1;
  options.take = std::numeric_limits<int64_t>::max();
  options.windows_per_document = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(order_of(cut(documents, options)), ElementsAre(1)) << "large values do not overflow";
}

TEST(Windows, OnlyDocumentsThatAreNeededAreTokenized) {
  // The second document would be refused: it brings no ids and there is no tokenizer.
  auto documents = numbered(1, 5);
  documents.push_back({.text = "text", .ids = {}, .file = "f", .number = 1});
  EXPECT_EQ(error_of(documents, in_file_order(1, 5)), "no error");
  EXPECT_THAT(error_of(documents, in_file_order(2, 5)),
              HasSubstr("f: document 1: expected a tokenizer"));
}

TEST(Windows, TextIsTokenized) {
  const Tokenizer tokenizer =
      Tokenizer::parse(fixtures::small_tokenizer({{"a", "b"}}).dump(), "tokenizer");
  const std::vector<Document> documents = {{.text = "abc", .ids = {}, .file = "f", .number = 0}};
  const Windows windows = cut_windows(documents, &tokenizer, in_file_order(1, 9), 257);
  EXPECT_THAT(windows.windows[0].ids, ElementsAre(256, 'c'));
  EXPECT_THROW(cut_windows(documents, &tokenizer, in_file_order(1, 9), 256), Error);
}

TEST(Windows, TheSameForAnyNumberOfThreads) {
  std::vector<Document> documents = numbered(60, 10);
  for (const size_t empty : {2u, 11u, 12u, 30u}) documents[empty].ids->clear();
  for (const int64_t samples : {1, 7, 40, 500}) {
    for (const int64_t each : {1, 3}) {
      WindowOptions options = in_file_order(samples, 4);
      options.windows_per_document = each;
      const Windows alone = cut(documents, options);
      for (const int count : {2, 7}) {
        const Windows many = cut_windows(documents, nullptr, options, kVocabulary, Threads(count));
        EXPECT_EQ(hash_windows(many), hash_windows(alone));
        EXPECT_EQ(order_of(many), order_of(alone));
        EXPECT_EQ(many.empty_documents, alone.empty_documents);
        EXPECT_EQ(many.short_documents, alone.short_documents);
      }
    }
  }
}

TEST(Windows, AnInterruptionEndsTheCutting) {
  const std::vector<Document> documents = numbered(60, 10);
  std::atomic<bool> cancelled = false;
  const auto run = [&] {
    return cut_windows(documents, nullptr, in_file_order(9, 4), kVocabulary, Threads(2),
                       &cancelled);
  };
  EXPECT_EQ(run().windows.size(), 9u);
  cancelled = true;
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("an interruption")));
}

// One document, so that nothing between documents hears of it: ten million words take longer than
// 20 ms.
TEST(Windows, AnInterruptionEndsTheEncodingOfADocument) {
  const Tokenizer tokenizer =
      Tokenizer::parse(fixtures::small_tokenizer({{"a", "b"}}).dump(), "tokenizer");
  std::string text;
  for (int i = 0; i < 10'000'000; ++i) text += " ab";
  const std::vector<Document> documents{{.text = std::move(text), .ids = {}, .file = "f"}};
  std::atomic<bool> cancelled = false;
  std::thread signal([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    cancelled = true;
  });
  EXPECT_THAT(
      [&] { cut_windows(documents, &tokenizer, in_file_order(1, 9), 257, Threads(1), &cancelled); },
      ThrowsMessage<Error>(HasSubstr("time to encode it")));
  signal.join();
}

// Two documents are wrong; also with several at work the first is named, and none that no window
// is needed of.
TEST(Windows, TheFirstWrongDocumentIsNamedWhoeverFindsIt) {
  std::vector<Document> documents = numbered(40, 10);
  (*documents[9].ids)[3] = -1;
  (*documents[10].ids)[0] = -1;
  const Threads threads(4);
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(
        [&] { cut_windows(documents, nullptr, in_file_order(20, 10), kVocabulary, threads); },
        ::testing::ThrowsMessage<Error>(HasSubstr("document 9")));
    EXPECT_EQ(
        cut_windows(documents, nullptr, in_file_order(9, 10), kVocabulary, threads).windows.size(),
        9u);
  }
}

TEST(WindowHash, IsSha256OfLengthsAndIds) {
  Windows windows;
  windows.windows = {{{1, 258}, 0, 0}};
  const std::string bytes("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\2\1\0\0", 24);
  EXPECT_EQ(hash_windows(windows), sha256(bytes));
}

TEST(WindowHash, SeesLengthsIdsAndOrderButNotWhereTheyCameFrom) {
  std::set<std::string> hashes;
  using Cut = std::vector<Ids>;
  for (const Cut& cut :
       {Cut{{1, 2}, {3}}, Cut{{1}, {2, 3}}, Cut{{1, 2, 3}}, Cut{{3}, {1, 2}}, Cut{}, Cut{{}}}) {
    Windows windows;
    for (const Ids& ids : cut) windows.windows.push_back({ids, 0, 0});
    hashes.insert(hash_windows(windows));
  }
  EXPECT_EQ(hashes.size(), 6u);
  Windows here, there;
  here.windows = {{{1}, 0, 0}};
  there.windows = {{{1}, 5, 9}};
  EXPECT_EQ(hash_windows(here), hash_windows(there));
}

TEST(Windows, CutTheCalibrationTextOfTheTinyModels) {
  if (!std::filesystem::exists("../shared")) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const std::string file = "../shared/models/tiny-mamba1/tokenizer.json";
  const Tokenizer tokenizer = Tokenizer::parse(read_text(file), file);
  const auto documents = read_documents({"../shared/text/calibration.jsonl"});
  EXPECT_EQ(documents.size(), 352u);
  const Windows windows = cut_windows(documents, &tokenizer, {}, tokenizer.size());
  EXPECT_EQ(windows.windows.size() + static_cast<size_t>(windows.empty_documents), 352u);
  for (const Window& window : windows.windows) {
    ASSERT_LE(window.ids.size(), 512u);
    const Ids ids = tokenizer.encode(documents[static_cast<size_t>(window.document)].text);
    ASSERT_TRUE(std::equal(window.ids.begin(), window.ids.end(), ids.begin()));
  }
}

}  // namespace
}  // namespace scute::windows_test
