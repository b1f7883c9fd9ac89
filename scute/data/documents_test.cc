#include "scute/data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/test_npy.h"
#include "scute/io/testing.h"
#include "scute/text/testing.h"

namespace scute::documents_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

/// A folder that is removed with its files at the end of the test.
class Documents : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, std::string_view text) const {
    write_file(path(name), text);
    return path(name);
  }
  template <class T>
  std::string write_ids(const std::string& name, Shape shape, const std::vector<T>& ids) const {
    write_npy(path(name), Tensor::of(std::move(shape), std::span<const T>(ids)));
    return path(name);
  }

 private:
  fixtures::Folder folder_;
};

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<std::string> texts(const std::vector<Document>& documents) {
  std::vector<std::string> all;
  for (const Document& document : documents) all.push_back(document.text);
  return all;
}

std::string jsonl_error(std::string_view bytes) {
  return error_of([&] { parse_jsonl(bytes, "f.jsonl"); });
}

Tokenizer bytes_tokenizer() {
  return Tokenizer::parse(fixtures::small_tokenizer({}).dump(), "bytes");
}

TEST(Jsonl, ALineIsADocument) {
  const auto documents =
      parse_jsonl("{\"text\": \"a\\nb\", \"source\": 1}\n{\"ids\": [3, 0]}", "f");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].text, "a\nb");
  EXPECT_FALSE(documents[0].ids);
  EXPECT_EQ(documents[1].ids, (Ids{3, 0}));
  EXPECT_EQ(documents[1].file, "f");
  EXPECT_EQ(documents[1].number, 1);
}

TEST(Jsonl, WindowsLineEndsAndBlankLinesAreFine) {
  const auto documents =
      parse_jsonl("\xEF\xBB\xBF{\"text\":\"a\"}\r\n\r\n  \t\n{\"text\":\"\"}\r\n\n", "f");
  EXPECT_THAT(texts(documents), ElementsAre("a", "")) << "an empty document is kept";
  EXPECT_EQ(documents[1].number, 1);
  EXPECT_TRUE(parse_jsonl("", "f").empty());
}

TEST(Jsonl, ErrorsNameFileAndLine) {
  EXPECT_THAT(jsonl_error("{\"text\":\"a\"}\n\n{\"txt\":\"b\"}\n"),
              HasSubstr("f.jsonl:3: expected an object with \"text\" or \"ids\", found neither"));
  EXPECT_THAT(jsonl_error("[1]"), HasSubstr("f.jsonl:1: expected an object"));
  EXPECT_THAT(jsonl_error("{\"text\":\"a\"}\n{\"text\": "), HasSubstr("f.jsonl:2"));
  EXPECT_THAT(jsonl_error("{\"text\": 3}"), HasSubstr("f.jsonl:1: text: expected a string"));
  EXPECT_THAT(jsonl_error("{\"ids\": \"abc\"}"), HasSubstr("f.jsonl:1: ids: expected an array"));
  for (const char* bad : {"-1", "2147483648", "1.5", "\"1\"", "null", "1e30"}) {
    EXPECT_THAT(jsonl_error("\n{\"ids\": [0, " + std::string(bad) + "]}"),
                HasSubstr("f.jsonl:2: ids: expected token ids from 0 to 2147483647"));
  }
}

TEST(Jsonl, ALargeFileTakesLinearTime) {
  std::string bytes;
  for (int i = 0; i < 400000; ++i) bytes += "{\"text\":\"a short document\"}\n";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_jsonl(bytes, "f").size(), 400000u);
  // Seen: 0.3 s for 11 MB. Work per line that grew with the rest of the file would take 2e12 steps.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(Jsonl, LineEndsOfAllKindsAndWhatOtherMembersHoldAreFine) {
  EXPECT_THAT(texts(parse_jsonl("{\"text\":\"a\"}\r{\"text\":\"b\"}\r\r\n{\"text\":\"c\"}", "f")),
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(texts(parse_jsonl("{\"text\":\"a\u2028b\\u0000c\"}", "f")),
              ElementsAre(std::string("a\u2028b\0c", 7)));
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  const auto documents = parse_jsonl(
      "{\"meta\":1,\"meta\":{\"a\":1,\"a\":2},\"text\":\"x\",\"n\":[1e999,NaN,"
      "123456789012345678901],"
      "\"cut\":\"\\ud83d\",\"deep\":" +
          deep + "}",
      "f");
  EXPECT_THAT(texts(documents), ElementsAre("x"));
}

TEST(Jsonl, BadLinesAreNamed) {
  EXPECT_THAT(jsonl_error("{\"text\":null}"),
              HasSubstr("f.jsonl:1: text: expected a string, found null"));
  EXPECT_THAT(jsonl_error("{\"text\":\"\\ud83d x\"}"), HasSubstr("f.jsonl:1: expected valid JSON"));
  EXPECT_THAT(jsonl_error("{\"text\":\"caf\xE9\"}"), HasSubstr("f.jsonl:1: expected valid JSON"));
  EXPECT_THAT(jsonl_error("{\"text\":\"a\",\"text\":\"b\"}"), HasSubstr("\"text\" twice"));
  EXPECT_THAT(jsonl_error("{\"text\":\"a\"}{\"text\":\"b\"}"),
              HasSubstr("expected one JSON value, found more behind it at byte 13"));
  EXPECT_THAT(jsonl_error("\"a\""), HasSubstr("expected an object, found a string"));
  EXPECT_THAT(jsonl_error("{\"text\":\"a\",\"m\":@}"), HasSubstr("a problem at byte 17"));
  for (const char* torn :
       {"{", "{\"text\"", "{\"text\":", "{\"text\":\"a", "{\"text\":\"a\"", "{\"text\":\"a\",",
        "{\"text\":\"a\\", "{\"m\":[1", "{\"m\":{\"a\":1}"}) {
    EXPECT_THAT(jsonl_error(torn), HasSubstr("f.jsonl:1: expected valid JSON")) << torn;
  }
  EXPECT_THAT(jsonl_error(std::string("\xFF\xFE{\0", 4)), HasSubstr("iconv"));
}

TEST(Jsonl, BadLinesAreSkippedAndCountedWhenAskedFor) {
  std::string lines = "{\"text\":\"a\"}\n";
  for (int i = 0; i < 30; ++i) lines += "{\"text\":null}\n";
  lines += "{\"text\":\"b\"}\n{\"text\":\"cut";
  BadLines bad;
  EXPECT_THAT(texts(parse_jsonl(lines, "f", {.skip_bad_lines = true}, &bad)),
              ElementsAre("a", "b"));
  EXPECT_EQ(bad.count, 31);
  ASSERT_EQ(bad.first.size(), 20u);
  EXPECT_EQ(bad.first[0], "f:2: text: expected a string, found null");
  EXPECT_EQ(bad.summary(),
            "31 bad lines left out, the first: f:2: text: expected a string, found null");
}

TEST(JsonFiles, MayBeAnArrayOrLines) {
  EXPECT_THAT(
      texts(parse_jsonl("[\n {\n  \"text\": \"a\"\n },\n {\"text\": \"b\"}\n]\n", "f.json")),
      ElementsAre("a", "b"));
  EXPECT_THAT(texts(parse_jsonl("{\"text\":\"a\"}\n{\"text\":\"b\"}\n", "f.JSON")),
              ElementsAre("a", "b"));
  BadLines bad;
  EXPECT_THAT(texts(parse_jsonl("[{\"text\":\"a\"}, 5, {\"text\":\"b\"}]", "f.json",
                                {.skip_bad_lines = true}, &bad)),
              ElementsAre("a", "b"));
  EXPECT_THAT(bad.first, ElementsAre("f.json: item 1: expected an object, found a number"));
  EXPECT_TRUE(parse_jsonl("[]", "f.json").empty());
  EXPECT_THAT(error_of([] { parse_jsonl("[{\"text\":\"a\"}", "f.json"); }),
              HasSubstr("f.json: expected valid JSON"));
}

TEST(Txt, BlankLinesSeparateBlocks) {
  EXPECT_THAT(texts(parse_txt("\n\na\nb\n \t\u3000\nc\n\n\nd", "f")),
              ElementsAre("a\nb", "c", "d"));
  EXPECT_THAT(texts(parse_txt("a\r\nb\r\n\r\nc\r\n", "f")), ElementsAre("a\nb", "c"));
  EXPECT_THAT(texts(parse_txt("  indented \n", "f")), ElementsAre("  indented "));
  EXPECT_TRUE(parse_txt("\n \n", "f").empty());
}

TEST_F(Documents, ComeFromSeveralFilesInOrder) {
  const auto documents =
      read_documents({write("a.txt", "one\n\ntwo"), write("b.JSONL", "{\"text\":\"three\"}"),
                      write_ids<int64_t>("c.npy", {2, 2}, {1, 2, 3, 4})});
  EXPECT_THAT(texts(documents), ElementsAre("one", "two", "three", "", ""));
  EXPECT_EQ(documents[2].number, 0) << "numbers are those within the file";
  EXPECT_EQ(documents[4].ids, (Ids{3, 4}));
  EXPECT_EQ(documents[4].number, 1);
  EXPECT_EQ(documents[4].file, path("c.npy"));
}

TEST_F(Documents, ANpyOfOneDimensionIsOneDocument) {
  const auto documents = read_documents({write_ids<int32_t>("a.npy", {3}, {7, 8, 9})});
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].ids, (Ids{7, 8, 9}));
}

TEST_F(Documents, ANpyOfOtherShapeTypeOrRangeIsRefused) {
  const auto error = [](const std::string& file) {
    return error_of([&] { read_documents({file}); });
  };
  EXPECT_THAT(error(write_ids<int32_t>("a.npy", {1, 1, 1}, {7})),
              HasSubstr("a.npy: expected one or two dimensions, found shape (1, 1, 1)"));
  EXPECT_THAT(error(write_ids<float>("b.npy", {1}, {7})), HasSubstr("int32 or int64"));
  EXPECT_THAT(error(write_ids<int64_t>("c.npy", {2, 1}, {7, int64_t{1} << 31})),
              HasSubstr("c.npy: row 1: expected token ids from 0 to 2147483647, found 2147483648"));
  EXPECT_THAT(error(write_ids<int32_t>("d.npy", {2}, {7, -1})), HasSubstr("found -1"));
  EXPECT_THAT(error(write_ids<int32_t>("e.npy", {1000, 0}, {})), HasSubstr("shape (1000, 0)"));
  EXPECT_THAT(error(write_ids<int32_t>("f.npy", {0, 5}, {})), HasSubstr("at least one document"));
}

TEST_F(Documents, IdsOfEveryIntegerTypeAreRead) {
  const auto ids = [](const std::string& file) { return *read_documents({file})[0].ids; };
  EXPECT_EQ(ids(write_ids<int16_t>("a.npy", {2}, {7, 32767})), (Ids{7, 32767}));
  EXPECT_EQ(ids(write_ids<uint8_t>("b.npy", {2}, {7, 255})), (Ids{7, 255}));
  EXPECT_THAT(error_of([&] {
                ids(write_ids<int8_t>("c.npy", {2}, {7, -3}));
              }),
              HasSubstr("c.npy: row 0: expected token ids from 0 to 2147483647, found -3 at 1"));
}

TEST_F(Documents, IdsWithoutAHeaderNeedTheirType) {
  const std::string bytes("\x01\x00\x00\x80", 4);
  const std::string npy = write("a.npy", bytes), bin = write("b.BIN", bytes);
  const auto ids = [](const std::string& file, RawIds raw) {
    return *read_documents({file}, {.raw_ids = raw})[0].ids;
  };
  EXPECT_EQ(ids(npy, RawIds::u16), (Ids{1, 32768}));
  EXPECT_EQ(ids(bin, RawIds::u16), (Ids{1, 32768}));
  EXPECT_EQ(read_stream(bin, nullptr, {.raw_ids = RawIds::u16}), (Ids{1, 32768}));
  const auto error = [](const std::string& file, std::optional<RawIds> raw) {
    return error_of([&] { read_documents({file}, {.raw_ids = raw}); });
  };
  EXPECT_THAT(error(npy, {}), HasSubstr("no .npy header: np.save it, or --raw-ids u16"));
  EXPECT_THAT(error(bin, {}), HasSubstr("--raw-ids u16"));
  EXPECT_THAT(error(bin, RawIds::u32), HasSubstr("found 2147483649 at 0"));
  EXPECT_THAT(error(bin, RawIds::i32), HasSubstr("found -2147483647 at 0"));
  EXPECT_THAT(error(bin, RawIds::i64), HasSubstr("expected a multiple of 8 bytes, found 4"));
  EXPECT_THAT(error(write_ids<int32_t>("c.npy", {1}, {7}), RawIds::u16),
              HasSubstr("found a .npy file"));
  EXPECT_THAT(error(write("d.txt", "a"), RawIds::u16), HasSubstr("--raw-ids: expected a file"));
}

TEST_F(Documents, OtherFilesAreRefusedByName) {
  const auto error = [](const std::string& file) {
    return error_of([&] { read_documents({file}); });
  };
  EXPECT_EQ(error("x/data.csv"), "x/data.csv: expected .jsonl, .txt or .npy, found .csv");
  EXPECT_THAT(error("data"), HasSubstr("found no extension"));
  EXPECT_THAT(error("a.jsonl.zst"), HasSubstr("unpack it first: zstd -d"));
  EXPECT_THAT(error("a.jsonl.gz"), HasSubstr("unpack it first: gunzip"));
  EXPECT_THAT(error(path("absent.txt")), HasSubstr("absent.txt"));
}

TEST_F(Documents, NoneAtAllIsAnError) {
  const std::string blank = write("blank.txt", "\n\n"), empty = write("empty.jsonl", "");
  EXPECT_THAT(error_of([&] {
                read_documents({blank, empty});
              }),
              HasSubstr("blank.txt, " + empty + ": expected at least one document, found none"));
  EXPECT_NE(error_of([&] { read_documents({}); }), "no error");
  EXPECT_EQ(read_documents({blank, write("a.txt", "a")}).size(), 1u);
}

TEST_F(Documents, AStreamIsTheWholeFile) {
  const Tokenizer tokenizer = bytes_tokenizer();
  const std::string text = "a\n\n\nb \n";
  EXPECT_EQ(read_stream(write("a.txt", text), &tokenizer), tokenizer.encode(text));
  const std::atomic<bool> cancelled = true;
  EXPECT_THROW(read_stream(write("a.txt", text), &tokenizer, {.cancelled = &cancelled}), Error);
  EXPECT_EQ(read_stream(write("b.jsonl", "{\"text\":\"\"}\n{\"text\":\"a\"}\n{\"text\":\"b\"}\n"),
                        &tokenizer),
            tokenizer.encode("\n\na\n\nb"));
  EXPECT_EQ(
      read_stream(write("c.jsonl", "{\"ids\":[1]}\n{\"ids\":[]}\n{\"ids\":[2,3]}\n"), nullptr),
      (Ids{1, 2, 3}));
  EXPECT_EQ(read_stream(write_ids<int32_t>("d.npy", {2, 2}, {1, 2, 3, 4}), nullptr),
            (Ids{1, 2, 3, 4}));
}

TEST_F(Documents, AStreamThatCannotBeMadeIsAnError) {
  const Tokenizer tokenizer = bytes_tokenizer();
  const auto error = [&](const std::string& file, const Tokenizer* with) {
    return error_of([&] { read_stream(file, with); });
  };
  EXPECT_THAT(error(write("a.txt", "a"), nullptr), HasSubstr("expected a tokenizer"));
  EXPECT_THAT(error(write("b.jsonl", "{\"ids\":[1]}\n{\"text\":\"a\"}\n"), &tokenizer),
              HasSubstr("expected texts or ids, found both"));
  EXPECT_THAT(error(write("c.txt", ""), &tokenizer), HasSubstr("at least one token"));
}

}  // namespace
}  // namespace scute::documents_test
