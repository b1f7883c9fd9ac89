#include "scute/io/torch_zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zip.h>

#include "scute/io/file.h"
#include "scute/io/testing.h"
#include "scute/io/zip.h"

namespace scute::torch_zip_test {
namespace {

using fixtures::bytes_of;
using fixtures::elements;
using fixtures::error_of;
using fixtures::floats;
using fixtures::Folder;
using fixtures::little;
using fixtures::put;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kRegressor = "../shared/models/regressor/";

std::string text(std::string_view s) {
  return "X" + little(static_cast<uint32_t>(s.size())) + std::string(s);
}
std::string tuple(const Shape& values) {
  std::string out = "(";
  for (const int64_t v : values) out += "J" + little(static_cast<int32_t>(v));
  return out + "t";
}
/// The pickle of a float tensor on storage 0, which has `elements`.
std::string tensor_pickle(int32_t elements, int32_t offset, const Shape& size,
                          const Shape& stride) {
  return "\x80\x02"
         "ctorch._utils\n_rebuild_tensor_v2\n((" +
         text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "J" +
         little(elements) + "tQJ" + little(offset) + tuple(size) + tuple(stride) +
         "\x89"
         "ccollections\nOrderedDict\n)RtR.";
}

struct Entry {
  std::string name, content;
};
void write_archive(const std::string& path, const std::vector<Entry>& entries) {
  AtomicFile file(path);
  ZipWriter zip(file);
  for (const Entry& entry : entries) zip.add(entry.name, bytes_of(entry.content));
  zip.finish();
  file.commit();
}
std::string six_floats() {
  std::string out;
  for (int i = 0; i < 6; ++i) out += little(static_cast<float>(i));
  return out;
}
Tensor read_one(const Folder& folder, const std::string& pickle,
                const std::string& data = six_floats()) {
  write_archive(folder / "a.pt", {{"a/data.pkl", pickle}, {"a/data/0", data}});
  return std::get<Tensor>(read_torch(folder / "a.pt").value);
}

TEST(Torch, RoundTripKeepsTheTree) {
  const Folder folder;
  TorchValue::Dict dict;
  dict.push_back({"none", {nullptr}});
  dict.push_back({"truth", {true}});
  dict.push_back({"small", {int64_t{-3}}});
  dict.push_back({"large", {int64_t{1} << 40}});
  dict.push_back({"real", {0.1}});
  dict.push_back({"text", {std::string("grüße")}});
  dict.push_back({"list", {TorchValue::List{{int64_t{1}}, {TorchValue::List{}}}}});
  dict.push_back({"dict", {TorchValue::Dict{{"w", {floats({2, 2}, {1, 2, 3, 4})}}}}});
  write_torch(folder / "a.pt", {dict});
  const TorchValue read = read_torch(folder / "a.pt");
  EXPECT_TRUE(std::holds_alternative<std::nullptr_t>(read.find("none")->value));
  EXPECT_EQ(std::get<bool>(read.find("truth")->value), true);
  EXPECT_EQ(std::get<int64_t>(read.find("small")->value), -3);
  EXPECT_EQ(std::get<int64_t>(read.find("large")->value), int64_t{1} << 40);
  EXPECT_EQ(std::get<double>(read.find("real")->value), 0.1);
  EXPECT_EQ(std::get<std::string>(read.find("text")->value), "grüße");
  EXPECT_EQ(std::get<TorchValue::List>(read.find("list")->value).size(), 2u);
  const Tensor w = std::get<Tensor>(read.find("dict")->find("w")->value);
  EXPECT_THAT(w.shape(), ElementsAre(2, 2));
  EXPECT_THAT(elements<float>(w), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(read.find("absent"), nullptr);
  EXPECT_EQ(read.find("real")->find("x"), nullptr);
}

TEST(Torch, RoundTripKeepsEveryTypeAndShape) {
  const Folder folder;
  for (const DType dtype : {DType::boolean, DType::u8, DType::i8, DType::i16, DType::i32,
                            DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64}) {
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{2, 0, 3}, Shape{5}, Shape{1, 3, 1, 2}}) {
      const auto count = static_cast<size_t>(element_count(shape, "t") * size_of(dtype));
      std::vector<std::byte> data(count);
      for (size_t i = 0; i < count; ++i) data[i] = static_cast<std::byte>(i % 2);
      write_torch(folder / "a.pt", {Tensor::of_bytes(dtype, shape, data)});
      const Tensor read = std::get<Tensor>(read_torch(folder / "a.pt").value);
      EXPECT_EQ(read.dtype(), dtype);
      EXPECT_EQ(read.shape(), shape);
      EXPECT_TRUE(std::ranges::equal(read.bytes(), data));
    }
  }
}

TEST(Torch, WriterLaysOutWhatTorchExpects) {
  const Folder folder;
  write_torch(folder / "a.pt", {TorchValue::Dict{{"w", {floats({1}, {1})}}}});
  const ZipReader zip(folder / "a.pt");
  std::vector<std::string> names;
  for (const ZipEntry& entry : zip.entries()) {
    names.push_back(entry.name);
    EXPECT_TRUE(entry.stored);
    EXPECT_EQ(entry.offset % 64, 0);
  }
  EXPECT_THAT(names, ElementsAre("archive/data.pkl", "archive/byteorder", "archive/data/0",
                                 "archive/version"));
}

TEST(Torch, TensorsAreMappedWhereTheStorageIsStored) {
  const Folder folder;
  Tensor tensor = read_one(folder, tensor_pickle(6, 2, {4}, {1}));
  EXPECT_THAT(elements<float>(tensor), ElementsAre(2, 3, 4, 5));
  EXPECT_NE(error_of([&] { tensor.mutable_values<float>(); }), "");
  std::filesystem::remove(folder / "a.pt");
  EXPECT_THAT(elements<float>(tensor), ElementsAre(2, 3, 4, 5));
}

TEST(Torch, TransposesAreCopiedInOrder) {
  const Folder folder;
  const Tensor two = read_one(folder, tensor_pickle(6, 0, {3, 2}, {1, 3}));
  EXPECT_THAT(two.shape(), ElementsAre(3, 2));
  EXPECT_THAT(elements<float>(two), ElementsAre(0, 3, 1, 4, 2, 5));
  const Tensor three = read_one(folder, tensor_pickle(6, 0, {2, 1, 3}, {1, 99, 2}));
  EXPECT_THAT(three.shape(), ElementsAre(2, 1, 3));
  EXPECT_THAT(elements<float>(three), ElementsAre(0, 2, 4, 1, 3, 5));
}

TEST(Torch, StridesOfSingleElementsMeanNothing) {
  const Folder folder;
  const Tensor tensor = read_one(folder, tensor_pickle(6, 0, {1, 6, 1}, {1, 1, 77}));
  EXPECT_THAT(elements<float>(tensor), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Torch, OtherStridesAreGathered) {
  const Folder folder;
  const auto values = [&](int32_t offset, const Shape& size, const Shape& stride) {
    const Tensor tensor = read_one(folder, tensor_pickle(6, offset, size, stride));
    EXPECT_EQ(tensor.shape(), size);
    return elements<float>(tensor);
  };
  EXPECT_THAT(values(0, {3}, {2}), ElementsAre(0, 2, 4));  // a column of a larger tensor
  EXPECT_THAT(values(1, {3}, {2}), ElementsAre(1, 3, 5));
  EXPECT_THAT(values(0, {2, 2}, {3, 1}), ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(values(0, {2, 2}, {1, 3}), ElementsAre(0, 3, 1, 4));
  EXPECT_THAT(values(5, {6}, {0}), ElementsAre(5, 5, 5, 5, 5, 5));  // expanded
  EXPECT_THAT(values(0, {2, 1, 3}, {0, 7, 1}), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(values(0, {2, 2}, {1, 1}), ElementsAre(0, 1, 1, 2));
  // A value spread without end from a small file.
  EXPECT_THAT(error_of([&] { values(0, {1 << 20, 1 << 10}, {0, 0}); }), HasSubstr("strided"));
}

TEST(Torch, OpaqueValuesAreLeftOutWhenWritten) {
  const Folder folder;
  const std::string pickle = "\x80\x02}(" + text("path") + "cpathlib\nPosixPath\n)R" + text("n") +
                             "K\7" + text("l") + "](cx\nY\n)Reu.";
  write_archive(folder / "a.pt", {{"a/data.pkl", pickle}});
  const TorchValue read = read_torch(folder / "a.pt");
  EXPECT_EQ(std::get<OpaqueValue>(read.find("path")->value).of, "pathlib.PosixPath");
  write_torch(folder / "b.pt", read);
  const TorchValue again = read_torch(folder / "b.pt");
  EXPECT_EQ(again.find("path"), nullptr);
  EXPECT_EQ(std::get<int64_t>(again.find("n")->value), 7);
  const auto& list = std::get<TorchValue::List>(again.find("l")->value);
  EXPECT_TRUE(std::holds_alternative<std::nullptr_t>(list.at(0).value));
}

TEST(Torch, StoragesShorterThanTheTensorClaimsAreRefused) {
  const Folder folder;
  EXPECT_THAT(error_of([&] { read_one(folder, tensor_pickle(7, 0, {7}, {1})); }),
              AllOf(HasSubstr("a/data/0"), HasSubstr("28 bytes"), HasSubstr("24")));
  EXPECT_NE(error_of([&] { read_one(folder, tensor_pickle(6, 0, {6}, {1}), ""); }), "");
}

TEST(Torch, MissingEntriesAreNamed) {
  const Folder folder;
  const std::string pickle = tensor_pickle(6, 0, {6}, {1});
  write_archive(folder / "a.pt", {{"a/data.pkl", pickle}});
  EXPECT_THAT(error_of([&] { read_torch(folder / "a.pt"); }), HasSubstr("a/data/0"));
  write_archive(folder / "a.pt", {{"a/readme", "x"}});
  EXPECT_THAT(error_of([&] { read_torch(folder / "a.pt"); }), HasSubstr("without data.pkl"));
  write_archive(folder / "a.pt", {{"a/data.pkl", pickle}, {"b/data.pkl", pickle}});
  EXPECT_THAT(error_of([&] { read_torch(folder / "a.pt"); }), HasSubstr("several"));
}

TEST(Torch, BigEndianFilesAreRefused) {
  const Folder folder;
  write_archive(folder / "a.pt", {{"a/data.pkl", "N."}, {"a/byteorder", "big"}});
  EXPECT_THAT(error_of([&] { read_torch(folder / "a.pt"); }), HasSubstr("byte order"));
}

TEST(Torch, OldAndForeignFormatsAreRefusedSayingSo) {
  const Folder folder;
  put(folder / "old.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.");
  EXPECT_THAT(error_of([&] { read_torch(folder / "old.pt"); }), HasSubstr("PyTorch 1.6"));
  put(folder / "text.pt", "hello, world");
  EXPECT_THAT(error_of([&] { read_torch(folder / "text.pt"); }), HasSubstr("no zip archive"));
  put(folder / "short.pt", "PK");
  EXPECT_THAT(error_of([&] { read_torch(folder / "short.pt"); }), HasSubstr("2 bytes"));
  EXPECT_NE(error_of([&] { read_torch(folder / "absent.pt"); }), "");
  EXPECT_NE(error_of([&] { read_torch(folder.path()); }), "");
}

TEST(Torch, CompressedStoragesAreUnpackedOnce) {
  const Folder folder;
  const std::string pickle = tensor_pickle(600, 3, {2, 6}, {6, 1});
  std::string data;
  for (int i = 0; i < 600; ++i) data += little(static_cast<float>(i));
  zip_t* zip = zip_open((folder / "a.pt").c_str(), ZIP_CREATE, nullptr);
  ASSERT_NE(zip, nullptr);
  for (const auto& [name, content] :
       {std::pair<const char*, const std::string*>{"a/data.pkl", &pickle}, {"a/data/0", &data}}) {
    zip_source_t* source = zip_source_buffer(zip, content->data(), content->size(), 0);
    const auto at = static_cast<zip_uint64_t>(zip_file_add(zip, name, source, 0));
    zip_set_file_compression(zip, at, ZIP_CM_DEFLATE, 9);
  }
  ASSERT_EQ(zip_close(zip), 0);
  ASSERT_FALSE(ZipReader(folder / "a.pt").find("a/data/0")->stored);
  const Tensor tensor = std::get<Tensor>(read_torch(folder / "a.pt").value);
  EXPECT_THAT(elements<float>(tensor), ElementsAre(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
}

TEST(Torch, ManyTransposesOfOneStorageAreRefused) {
  const Folder folder;
  std::string data(size_t{1} << 20, '\0');
  const std::string one = tensor_pickle(1 << 18, 0, {512, 512}, {1, 512});
  std::string pickle = "(";
  for (int i = 0; i < 8; ++i) pickle += one.substr(2, one.size() - 3);
  EXPECT_THAT(error_of([&] { read_one(folder, pickle + "t.", data); }), HasSubstr("transposed"));
}

TEST(Torch, ReadsEveryRegressorFileOrNamesTheClass) {
  if (!std::filesystem::exists(kRegressor)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  int read = 0, refused = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(kRegressor)) {
    if (file.path().extension() != ".pt") continue;
    if (file.path().filename() == "model_full.pt") {
      EXPECT_THAT(error_of([&] { read_torch(file.path().string()); }),
                  AllOf(HasSubstr("model_full.pt"), HasSubstr("MambaRegressor"),
                        HasSubstr("save a state_dict")));
      ++refused;
      continue;
    }
    const TorchValue value = read_torch(file.path().string());
    const TorchValue* state = value.find("state_dict");
    ASSERT_NE(state, nullptr) << file.path();
    for (const auto& [name, tensor] : std::get<TorchValue::Dict>(state->value)) {
      EXPECT_TRUE(std::holds_alternative<Tensor>(tensor.value)) << name;
    }
    EXPECT_TRUE(std::holds_alternative<int64_t>(value.find("cfg")->find("Din")->value));
    EXPECT_TRUE(std::holds_alternative<std::string>(value.find("arch")->find("agg_pool")->value));
    ++read;
  }
  EXPECT_GE(read, 17);
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace scute::torch_zip_test
