#include "scute/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/json.h"
#include "scute/io/testing.h"

namespace scute::safetensors_test {
namespace {

using fixtures::bytes_of;
using fixtures::elements;
using fixtures::error_of;
using fixtures::floats;
using fixtures::Folder;
using fixtures::get;
using fixtures::little;
using fixtures::put;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string file_of(std::string_view json, size_t data_bytes) {
  return little(uint64_t{json.size()}) + std::string(json) + std::string(data_bytes, '\1');
}

/// The error of a file with this header and so many bytes of data; "" when it is accepted.
std::string refusal(std::string_view json, size_t data_bytes) {
  const std::string file = file_of(json, data_bytes);
  return error_of(
      [&] { parse_safetensors(bytes_of(file), static_cast<int64_t>(file.size()), "f"); });
}

TEST(Safetensors, RoundTripKeepsEveryTypeAndTheMetadata) {
  const Folder folder;
  std::vector<NamedTensor> tensors;
  for (const DType dtype : {DType::boolean, DType::u8, DType::i8, DType::i16, DType::i32,
                            DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64}) {
    const std::vector<std::byte> data(static_cast<size_t>(3 * size_of(dtype)), std::byte{1});
    tensors.push_back({std::string(name_of(dtype)), Tensor::of_bytes(dtype, {3, 1}, data)});
  }
  tensors.push_back({"scalar", floats({}, {7})});
  tensors.push_back({"empty", Tensor(DType::f32, {0, 4})});
  write_safetensors(folder / "a", tensors, {{"format", "pt"}, {"quote", "\"ü\n"}});

  const SafetensorsFile file = read_safetensors(folder / "a");
  EXPECT_EQ(file.metadata, (Metadata{{"format", "pt"}, {"quote", "\"ü\n"}}));
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (const NamedTensor& was : tensors) {
    const auto is = std::find_if(file.tensors.begin(), file.tensors.end(),
                                 [&](const NamedTensor& n) { return n.name == was.name; });
    ASSERT_NE(is, file.tensors.end()) << was.name;
    EXPECT_EQ(is->tensor.dtype(), was.tensor.dtype());
    EXPECT_EQ(is->tensor.shape(), was.tensor.shape());
    EXPECT_TRUE(std::ranges::equal(is->tensor.bytes(), was.tensor.bytes())) << was.name;
  }
}

TEST(Safetensors, WriterSortsByElementSizeSoThatAllIsAligned) {
  const Folder folder;
  write_safetensors(folder / "a",
                    {{"byte", Tensor(DType::u8, {3})},
                     {"b", floats({1}, {1})},
                     {"a", floats({1}, {2})},
                     {"long", Tensor(DType::i64, {1})}},
                    {});
  const std::string file = get(folder / "a");
  const auto header = parse_safetensors(bytes_of(file), static_cast<int64_t>(file.size()), "a");
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : header.entries) {
    names.push_back(entry.name);
    EXPECT_EQ(entry.begin % size_of(entry.dtype), 0) << entry.name;
  }
  EXPECT_THAT(names, ElementsAre("long", "b", "a", "byte"));
  EXPECT_EQ(header.entries.front().begin % 8, 0);
}

TEST(Safetensors, WriterGivesEqualBytesForEqualContent) {
  const Folder folder;
  const std::vector<NamedTensor> tensors = {{"w", floats({2}, {1, 2})}};
  write_safetensors(folder / "a", tensors, {{"k", "v"}});
  write_safetensors(folder / "b", tensors, {{"k", "v"}});
  EXPECT_EQ(get(folder / "a"), get(folder / "b"));
}

TEST(Safetensors, WriterRefusesNamesItCannotKeepApart) {
  const Folder folder;
  const Tensor one = floats({1}, {1});
  EXPECT_THAT(error_of([&] {
                write_safetensors(folder / "a", {{"w", one}, {"w", one}}, {});
              }),
              HasSubstr("w"));
  EXPECT_NE(error_of([&] { write_safetensors(folder / "a", {{"__metadata__", one}}, {}); }), "");
  EXPECT_EQ(folder.files(), 0u);
}

TEST(Safetensors, UnalignedTensorsAreCopiedNotMisread) {
  const Folder folder;
  std::string json = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  while (json.size() % 4 != 1) json += ' ';
  put(folder / "a", little(uint64_t{json.size()}) + json + little(1.5f) + little(-2.0f));
  const SafetensorsFile file = read_safetensors(folder / "a");
  EXPECT_THAT(elements<float>(file.tensors.at(0).tensor), ElementsAre(1.5f, -2.0f));
}

TEST(Safetensors, TensorsOutliveTheFilesNameAndAreReadOnly) {
  const Folder folder;
  write_safetensors(folder / "a", {{"w", floats({2}, {1, 2})}}, {});
  Tensor tensor = read_safetensors(folder / "a").tensors.at(0).tensor;
  std::filesystem::remove(folder / "a");
  EXPECT_THAT(elements<float>(tensor), ElementsAre(1.0f, 2.0f));
  EXPECT_NE(error_of([&] { tensor.mutable_values<float>(); }), "");
}

TEST(Safetensors, ReadsTheGoldenShards) {
  const std::string path =
      "../shared/golden/models/mamba1-hf-bf16-sharded/model-00001-of-00003.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const SafetensorsFile file = read_safetensors(path);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_FALSE(file.tensors.empty());
  EXPECT_EQ(file.tensors[0].tensor.dtype(), DType::bf16);
}

TEST(Safetensors, AcceptsAnEmptyFileOfTensors) {
  EXPECT_EQ(refusal("{}", 0), "");
  EXPECT_EQ(refusal(R"({"__metadata__":{"a":"b"}}  )", 0), "");
}

TEST(Safetensors, RefusesHeadersLongerThanTheFile) {
  for (const std::string& file :
       {std::string(), std::string("\x02\0\0", 3), little(uint64_t{1}), little(UINT64_MAX),
        little(uint64_t{1} << 63) + "{}", little(uint64_t{3}) + "{}"}) {
    EXPECT_NE(error_of([&] {
                parse_safetensors(bytes_of(file), static_cast<int64_t>(file.size()), "f");
              }),
              "");
  }
  // A sparse file may be large without costing its author anything.
  const std::string head = little(uint64_t{200'000'000});
  EXPECT_THAT(error_of([&] { parse_safetensors(bytes_of(head), int64_t{1} << 40, "f"); }),
              HasSubstr("below 100 MB"));
  // `head` shorter than the header it announces.
  const std::string part = little(uint64_t{50}) + "{}";
  EXPECT_NE(error_of([&] { parse_safetensors(bytes_of(part), 1000, "f"); }), "");
}

TEST(Safetensors, RefusesHeadersThatAreNoObjectOfTensors) {
  EXPECT_NE(refusal("", 0), "");
  EXPECT_NE(refusal("[]", 0), "");
  EXPECT_NE(refusal(" {}", 0), "");  // the format wants '{' first
  EXPECT_NE(refusal("{", 0), "");
  EXPECT_NE(refusal(R"({"w":[]})", 0), "");
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":[1]}})", 4), "");
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4), "");
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), "");
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", 4), "");
  EXPECT_NE(refusal(R"({"__metadata__":{"a":1}})", 0), "");
  EXPECT_NE(refusal(R"({"__metadata__":[]})", 0), "");
}

TEST(Safetensors, RefusesUnknownTypesByName) {
  EXPECT_THAT(refusal(R"({"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", 1),
              ::testing::AllOf(HasSubstr("tensor w"), HasSubstr("F8_E4M3")));
}

TEST(Safetensors, RefusesNamesUsedTwice) {
  EXPECT_THAT(refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                      R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                      2),
              HasSubstr("w"));
}

TEST(Safetensors, RefusesShapesThatDoNotFitTheirBytes) {
  EXPECT_THAT(refusal(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("8 bytes"));
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "");
  EXPECT_NE(refusal(R"({"w":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4), "");
  // 2^32 · 2^32 is 0 in 64 bits, 2^62 · 4 too.
  EXPECT_THAT(
      refusal(R"({"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      HasSubstr("overflow"));
  EXPECT_THAT(
      refusal(R"({"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
      HasSubstr("overflow"));
}

TEST(Safetensors, RefusesOverlapsGapsAndWrongEnds) {
  const auto two = [](std::string_view a, std::string_view b) {
    return std::string(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)") + std::string(a) +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + std::string(b) + "}}";
  };
  EXPECT_EQ(refusal(two("[0,2]", "[2,4]"), 4), "");
  EXPECT_EQ(refusal(two("[2,4]", "[0,2]"), 4), "");  // any order of names
  EXPECT_THAT(refusal(two("[0,2]", "[1,3]"), 3), HasSubstr("overlap"));
  EXPECT_THAT(refusal(two("[0,2]", "[0,2]"), 2), HasSubstr("overlap"));
  EXPECT_THAT(refusal(two("[0,2]", "[3,5]"), 5), HasSubstr("gap"));
  EXPECT_THAT(refusal(two("[0,2]", "[2,4]"), 3), HasSubstr("truncated"));
  EXPECT_NE(refusal(two("[0,2]", "[2,4]"), 5), "");  // bytes that belong to nobody
  EXPECT_NE(refusal(two("[2,0]", "[2,4]"), 4), "");
  EXPECT_NE(refusal(two("[-2,0]", "[0,2]"), 2), "");
  EXPECT_NE(refusal(two("[9223372036854775805,9223372036854775807]", "[0,2]"), 2), "");
}

}  // namespace
}  // namespace scute::safetensors_test
