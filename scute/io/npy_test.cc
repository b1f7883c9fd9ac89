#include "scute/io/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "scute/io/test_npy.h"
#include "scute/io/testing.h"
#include "scute/io/zip.h"

namespace scute::npy_test {
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

std::string npy(std::string_view header, std::string_view data, uint8_t major = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(major);
  out += '\0';
  out += major == 1 ? little(static_cast<uint16_t>(header.size()))
                    : little(static_cast<uint32_t>(header.size()));
  return out + std::string(header) + std::string(data);
}
std::string header(std::string_view descr, std::string_view shape,
                   std::string_view order = "False") {
  return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + std::string(order) +
         ", 'shape': " + std::string(shape) + ", }  \n";
}
Tensor parse(std::string_view file) { return parse_npy(bytes_of(file), "f"); }
std::string refusal(std::string_view file) {
  return error_of([&] { parse(file); });
}

TEST(Npy, ReadsBothByteOrders) {
  const auto one = [](std::string_view type, std::string_view data) {
    return parse(npy(header(type, "(1,)"), data));
  };
  EXPECT_THAT(elements<float>(one(">f4", {"\x3f\xc0\0\0", 4})), ElementsAre(1.5F));
  EXPECT_THAT(elements<double>(one(">f8", {"\x3f\xf8\0\0\0\0\0\0", 8})), ElementsAre(1.5));
  EXPECT_THAT(elements<int16_t>(one(">i2", {"\xff\xfe", 2})), ElementsAre(-2));
  EXPECT_THAT(elements<int8_t>(one(">i1", "\xfe")), ElementsAre(-2));
  const Folder folder;
  // Transposed and swapped: each column's numbers, the high byte first.
  put(folder / "a.npy", npy(header(">i2", "(2, 2)", "True"), {"\0\1\0\2\0\3\0\4", 8}));
  EXPECT_THAT(elements<int16_t>(read_npy(folder / "a.npy")), ElementsAre(1, 3, 2, 4));
}

TEST(Npy, ReadsUnsignedNumbersAsWiderOnes) {
  EXPECT_THAT(elements<int32_t>(parse(npy(header("<u2", "(2,)"), {"\xff\xff\1\0", 4}))),
              ElementsAre(65535, 1));
  EXPECT_THAT(elements<int64_t>(parse(npy(header(">u4", "(1,)"), {"\xff\xff\xff\xfe", 4}))),
              ElementsAre(4294967294));
  EXPECT_THAT(refusal(npy(header("<u8", "(1,)"), "12345678")), HasSubstr("<u8"));
}

TEST(Npy, ReadsShapesThatNumPyWroteAsItsOwnNumbers) {
  EXPECT_THAT(parse(npy(header("|u1", "(np.int64(2), np.int64(3))"), "abcdef")).shape(),
              ElementsAre(2, 3));
  EXPECT_THAT(parse(npy(header("|u1", "(numpy.int64(2),)"), "ab")).shape(), ElementsAre(2));
  EXPECT_NE(refusal(npy(header("|u1", "(np.int64(2,)"), "ab")), "");
  EXPECT_NE(refusal(npy(header("|u1", "(os.system(2),)"), "ab")), "");
}

TEST(Npy, RoundTripKeepsEveryTypeAndShape) {
  const Folder folder;
  for (const DType dtype : {DType::boolean, DType::u8, DType::i8, DType::i16, DType::i32,
                            DType::i64, DType::f16, DType::f32, DType::f64}) {
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{2, 3}, Shape{2, 0, 3}}) {
      const auto count = static_cast<size_t>(element_count(shape, "t") * size_of(dtype));
      const std::vector<std::byte> data(count, std::byte{1});
      write_npy(folder / "a.npy", Tensor::of_bytes(dtype, shape, data));
      for (const Tensor& read : {read_npy(folder / "a.npy"), parse(get(folder / "a.npy"))}) {
        EXPECT_EQ(read.dtype(), dtype);
        EXPECT_EQ(read.shape(), shape);
        EXPECT_TRUE(std::ranges::equal(read.bytes(), data));
      }
      write_npz(folder / "a.npz", {{"a", read_npy(folder / "a.npy")}});
      const std::vector<NamedTensor> again = read_npz(folder / "a.npz");
      ASSERT_EQ(again.size(), 1u);
      EXPECT_EQ(again[0].tensor.dtype(), dtype);
      EXPECT_EQ(again[0].tensor.shape(), shape);
      EXPECT_TRUE(std::ranges::equal(again[0].tensor.bytes(), data));
    }
  }
}

TEST(Npy, UnsignedIntegersAreWidened) {
  const std::string shorts = little(uint16_t{1}) + little(uint16_t{2}) + little(uint16_t{65535}) +
                             little(uint16_t{4}) + little(uint16_t{5}) + little(uint16_t{6});
  EXPECT_THAT(elements<int32_t>(parse(npy(header("<u2", "(2, 3)"), shorts))),
              ElementsAre(1, 2, 65535, 4, 5, 6));
  EXPECT_THAT(elements<int32_t>(parse(npy(header("<u2", "(2, 3)", "True"), shorts))),
              ElementsAre(1, 65535, 5, 2, 4, 6));
  const std::string words = little(uint32_t{7}) + little(UINT32_MAX);
  const Folder folder;
  put(folder / "a.npy", npy(header("<u4", "(2,)"), words));
  EXPECT_THAT(elements<int64_t>(read_npy(folder / "a.npy")), ElementsAre(7, 4294967295));
  EXPECT_THAT(refusal(npy(header("<u2", "(2, 3)"), words)), HasSubstr("expected 12 bytes"));
  EXPECT_TRUE(is_npy(folder / "a.npy"));
  put(folder / "b.npy", shorts);
  EXPECT_FALSE(is_npy(folder / "b.npy"));
}

TEST(Npy, WrittenDataBeginsAtAMultipleOf64) {
  const Folder folder;
  write_npz(folder / "a.npz", {{"a", floats({2}, {1, 2})}});
  const ZipReader zip(folder / "a.npz");
  const Tensor entry = zip.read(zip.entries().at(0));
  const std::string_view file(reinterpret_cast<const char*>(entry.bytes().data()),
                              entry.bytes().size());
  EXPECT_EQ((file.size() - 8) % 64, 0u);
  EXPECT_EQ(file[file.size() - 9], '\n');
}

TEST(Npy, RefusesToWriteBf16) {
  const Folder folder;
  EXPECT_THAT(error_of([&] {
                write_npz(folder / "a.npz", {{"a", Tensor(DType::bf16, {1})}});
              }),
              HasSubstr("BF16"));
  EXPECT_EQ(folder.files(), 0u);
}

TEST(Npy, ReadsVersions1To3AndBothQuotes) {
  for (const uint8_t version : {uint8_t{1}, uint8_t{2}, uint8_t{3}}) {
    const Tensor t = parse(npy(header("<i2", "(2,)"), std::string("\1\0\2\0", 4), version));
    EXPECT_THAT(elements<int16_t>(t), ElementsAre(1, 2));
  }
  EXPECT_EQ(refusal(npy(R"({"descr":"<u1","shape":(1,),"fortran_order":False})", "x")), "");
  EXPECT_NE(refusal(npy(header("<i2", "(1,)"), "xx", 4)), "");
}

TEST(Npy, RefusesOtherTypes) {
  EXPECT_THAT(refusal(npy(header(">c8", "(1,)"), "xxxxxxxx")), HasSubstr(">c8"));
  EXPECT_THAT(refusal(npy(header("|O", "(1,)"), "xxxxxxxx")), HasSubstr("|O"));
  EXPECT_THAT(refusal(npy(header("<U3", "(1,)"), "xxxxxxxx")), HasSubstr("<U3"));
  EXPECT_THAT(refusal(npy(header("<f4", "(1,)", "Maybe"), "xxxx")), HasSubstr("True or False"));
  EXPECT_NE(
      refusal(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "xxxx")), "");
}

TEST(Npy, CopiesFortranOrderIntoCOrder) {
  // Element (a, b, c) is 100·a + 10·b + c; in the file the first index varies fastest.
  const std::vector<int16_t> stored = {0, 100, 10, 110, 1, 101, 11, 111, 2, 102, 12, 112};
  const std::string data(reinterpret_cast<const char*>(stored.data()), stored.size() * 2);
  const Folder folder;
  for (const char* shape : {"(2, 2, 3)", "(1, 2, 1, 2, 3, 1)"}) {
    const std::string file = npy(header("<i2", shape, "True"), data);
    put(folder / "a.npy", file);
    for (const Tensor& read : {read_npy(folder / "a.npy"), parse(file)}) {
      EXPECT_THAT(elements<int16_t>(read),
                  ElementsAre(0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112))
          << shape;
    }
  }
  EXPECT_THAT(parse(npy(header("<i2", "(2, 2, 3)", "True"), data)).shape(), ElementsAre(2, 2, 3));
}

TEST(Npy, FortranOrderOfEveryElementSize) {
  for (const auto& [type, size] :
       {std::pair{"|u1", size_t{1}}, {"<f2", 2u}, {"<f4", 4u}, {"<f8", 8u}}) {
    std::string data, expected;
    for (const char c : {'a', 'd', 'b', 'e', 'c', 'f'}) data += std::string(size, c);
    for (const char c : {'a', 'b', 'c', 'd', 'e', 'f'}) expected += std::string(size, c);
    const Tensor read = parse(npy(header(type, "(2, 3)", "True"), data));
    EXPECT_TRUE(std::ranges::equal(read.bytes(), bytes_of(expected))) << type;
  }
}

TEST(Npy, FortranOrderWithFewerThanTwoAxesIsAsStored) {
  for (const char* shape : {"(2,)", "(1, 2)", "(2, 1)", "(1, 1, 2, 1)"}) {
    const Tensor t = parse(npy(header("<i2", shape, "True"), std::string("\1\0\2\0", 4)));
    EXPECT_THAT(elements<int16_t>(t), ElementsAre(1, 2)) << shape;
  }
  EXPECT_EQ(parse(npy(header("<i2", "()", "True"), "xx")).size(), 1);
  EXPECT_THAT(parse(npy(header("<i2", "(3, 0, 2)", "True"), "")).shape(), ElementsAre(3, 0, 2));
}

TEST(Npy, HostileFortranShapesAreRefusedOrReadQuickly) {
  EXPECT_THAT(refusal(npy(header("|u1", "(4294967296, 4294967296)", "True"), "")),
              HasSubstr("overflow"));
  EXPECT_THAT(refusal(npy(header("<f4", "(1048576, 1048576)", "True"), "1234")),
              HasSubstr("4398046511104 bytes"));
  // 2^16 elements and 2^18 axes of length 1: walking all of them for each element would be 2·10¹⁰
  // steps, at least 10 s; without them it is milliseconds.
  std::string shape = "(256, 256, ";
  for (int i = 0; i < 1 << 18; ++i) shape += "1,";
  const std::string file = npy(header("|u1", shape + ")", "True"), std::string(1 << 16, 'x'), 2);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse(file).size(), 1 << 16);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Npy, ReadsWhatNumpyWritesOfATransposedArray) {
  const Folder folder;
  const std::string code = "import numpy as np; np.save('" + (folder / "a.npy") +
                           "', np.arange(24, dtype='<f4').reshape(4, 3, 2).T); np.savez('" +
                           (folder / "a.npz") + "', x=np.arange(6).reshape(3, 2).T)";
  if (std::system(("/usr/bin/python3 -c \"" + code + "\" 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "SKIPPED: no NumPy in /usr/bin/python3";
  }
  const Tensor read = read_npy(folder / "a.npy");
  EXPECT_THAT(read.shape(), ElementsAre(2, 3, 4));
  const auto values = elements<float>(read);
  EXPECT_EQ(values[1], 6);   // (0, 0, 1): element (1, 0, 0) of the original
  EXPECT_EQ(values[4], 2);   // (0, 1, 0)
  EXPECT_EQ(values[12], 1);  // (1, 0, 0)
  EXPECT_EQ(values[1 * 12 + 2 * 4 + 3], 23);
  EXPECT_THAT(elements<int64_t>(read_npz(folder / "a.npz").at(0).tensor),
              ElementsAre(0, 2, 4, 1, 3, 5));
}

TEST(Npy, RefusesMalformedHeaders) {
  for (const char* text :
       {"", "{", "{}", "{'descr': '<f4'}", "()", "{'descr': '<f4', 'fortran_order': False,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (x,)}"}) {
    EXPECT_NE(refusal(npy(text, "xxxx")), "") << text;
  }
}

TEST(Npy, RefusesShapesThatDoNotFitTheData) {
  EXPECT_EQ(refusal(npy(header("<f4", "(2,)"), "12345678")), "");
  EXPECT_THAT(refusal(npy(header("<f4", "(3,)"), "12345678")), HasSubstr("12 bytes"));
  EXPECT_NE(refusal(npy(header("<f4", "(1,)"), "12345678")), "");
  EXPECT_NE(refusal(npy(header("<f4", "(-1,)"), "")), "");
  EXPECT_NE(refusal(npy(header("<f4", "(99999999999999999999,)"), "")), "");
  EXPECT_THAT(refusal(npy(header("|u1", "(4294967296, 4294967296)"), "")), HasSubstr("overflow"));
}

TEST(Npy, RefusesHugeShapesBeforeAllocatingAndBytesLeftOver) {
  EXPECT_THAT(refusal(npy(header("<f4", "(1099511627776,)"), "1234")),  // 4 TiB
              HasSubstr("4398046511104 bytes"));
  const Folder folder;
  put(folder / "a.npy", npy(header("<f4", "(1,)"), "12345678"));
  EXPECT_THAT(error_of([&] { read_npy(folder / "a.npy"); }), HasSubstr("4 bytes"));
}

TEST(Npy, RefusesTruncationAtEveryByte) {
  const std::string whole = npy(header("<i2", "(2,)"), "1234");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(refusal(std::string_view(whole).substr(0, length)), "") << length;
  }
  EXPECT_THAT(refusal("PK, not an array"), HasSubstr("a .npy file"));
}

TEST(Npz, RoundTripIsDeflatedAndRepeatable) {
  const Folder folder;
  const std::vector<NamedTensor> arrays = {
      {"layer_0.in_proj:input", Tensor(DType::f32, {100, 50})},
      {"b", Tensor::of<int64_t>({2}, std::vector<int64_t>{5, 6})}};
  write_npz(folder / "a.npz", arrays);
  write_npz(folder / "b.npz", arrays);
  EXPECT_EQ(get(folder / "a.npz"), get(folder / "b.npz"));
  EXPECT_LT(get(folder / "a.npz").size(), 2000u);
  const auto read = read_npz(folder / "a.npz");
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].name, "layer_0.in_proj:input");
  EXPECT_THAT(read[0].tensor.shape(), ElementsAre(100, 50));
  EXPECT_THAT(elements<int64_t>(read[1].tensor), ElementsAre(5, 6));
}

TEST(Npz, AnEmptyArchiveHasNoArrays) {
  const Folder folder;
  write_npz(folder / "a.npz", {});
  EXPECT_TRUE(read_npz(folder / "a.npz").empty());
}

TEST(Npz, RefusesStoredDataThatItsChecksumDenies) {
  const Folder folder;
  const std::string array = npy(header("<i2", "(2,)"), "1234");
  AtomicFile out(folder / "a.npz");
  ZipWriter zip(out);
  zip.add("x.npy", bytes_of(array));
  zip.finish();
  out.commit();
  std::string file = get(folder / "a.npz");
  EXPECT_EQ(read_npz(folder / "a.npz").size(), 1u);
  file[file.find("1234")] = '2';
  put(folder / "b.npz", file);
  EXPECT_THAT(error_of([&] { read_npz(folder / "b.npz"); }), HasSubstr("CRC-32"));
}

TEST(Npz, LeavesOutText) {
  const Folder folder;
  AtomicFile out(folder / "a.npz");
  ZipWriter zip(out);
  zip.add("note.npy", bytes_of(npy(header("<U1", "()"), "x\0\0\0")));
  zip.add("x.npy", bytes_of(npy(header("<i2", "(2,)"), "1234")));
  zip.finish();
  out.commit();
  const auto read = read_npz(folder / "a.npz");
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].name, "x");
}

TEST(Npz, RefusesNamesUsedTwiceAndForeignEntries) {
  const Folder folder;
  const Tensor one = floats({1}, {1});
  EXPECT_NE(error_of([&] { write_npz(folder / "a.npz", {{"x", one}, {"x", one}}); }), "");
  AtomicFile out(folder / "b.npz");
  ZipWriter zip(out);
  zip.add("readme.txt", bytes_of("hi"));
  zip.finish();
  out.commit();
  EXPECT_THAT(error_of([&] { read_npz(folder / "b.npz"); }), HasSubstr("readme.txt"));
}

TEST(Npz, ReadsTheGoldenFiles) {
  const std::string folder = "../shared/golden/regressor/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const auto arrays = read_npz(folder + "features/npy/stats_train.npz");
  const auto mean = std::find_if(arrays.begin(), arrays.end(),
                                 [](const NamedTensor& a) { return a.name == "feat_mean"; });
  ASSERT_NE(mean, arrays.end());
  EXPECT_EQ(mean->tensor.dtype(), DType::f32);
  const Tensor xy = read_npy(folder + "features/npy/Grid101.xy.npy");
  const Tensor feats = read_npy(folder + "features/npy/Grid101.feats.npy");
  EXPECT_EQ(xy.dim(1), 2);
  EXPECT_EQ(xy.dim(0), feats.dim(0));
  EXPECT_EQ(feats.dim(1), mean->tensor.size());
}

}  // namespace
}  // namespace scute::npy_test
