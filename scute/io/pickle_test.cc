#include "scute/io/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/testing.h"

namespace scute::pickle_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::little;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::string_literals;

PickleValue parse(std::string_view pickle) { return parse_torch_pickle(bytes_of(pickle), "f"); }
std::string refusal(std::string_view pickle) {
  return error_of([&] { parse(pickle); });
}
template <class T>
T value(std::string_view pickle) {
  return std::get<T>(parse(pickle).value);
}

std::string text(std::string_view s) {
  return "X" + little(static_cast<uint32_t>(s.size())) + std::string(s);
}
/// BININT, BININT2 or LONG1: the shortest does not matter here.
std::string integer(int64_t n) { return "\x8a\x08"s + little(n); }
std::string tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (const int64_t v : values) out += integer(v);
  return out + "t";
}
std::string storage(std::string_view type, std::string_view key, int64_t elements) {
  return "(" + text("storage") + "ctorch\n" + std::string(type) + "\n" + text(key) +
         text("cuda:0") + integer(elements) + "tQ";
}
std::string tensor(const std::string& data, int64_t offset, const std::vector<int64_t>& size,
                   const std::vector<int64_t>& stride) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + data + integer(offset) + tuple(size) +
         tuple(stride) + "\x89" + "ccollections\nOrderedDict\n)R" + "tR";
}
StoredTensor stored(const std::string& pickle) { return value<StoredTensor>(pickle + "."); }
/// The refusal of a float tensor on a storage of 6 elements.
std::string layout(int64_t offset, const std::vector<int64_t>& size,
                   const std::vector<int64_t>& stride) {
  return refusal(tensor(storage("FloatStorage", "0", 6), offset, size, stride) + ".");
}

TEST(Pickle, ReadsPlainValues) {
  EXPECT_EQ(value<std::nullptr_t>("\x80\x02N."), nullptr);
  EXPECT_EQ(value<bool>("\x88."), true);
  EXPECT_EQ(value<bool>("\x89."), false);
  EXPECT_EQ(value<int64_t>("K\xff."), 255);
  EXPECT_EQ(value<int64_t>("M\xff\xff."), 65535);
  EXPECT_EQ(value<int64_t>("J\xfe\xff\xff\xff."), -2);
  EXPECT_EQ(value<int64_t>("\x8a\x00."s), 0);
  EXPECT_EQ(value<int64_t>("\x8a\x01\x80."s), -128);
  EXPECT_EQ(value<int64_t>("\x8a\x02\x80\x00."s), 128);
  EXPECT_EQ(value<int64_t>(integer(INT64_MIN) + "."), INT64_MIN);
  EXPECT_EQ(value<double>("G\x3f\xf8\0\0\0\0\0\0."s), 1.5);
  EXPECT_EQ(value<std::string>(text("ü") + "."), "ü");
  EXPECT_EQ(value<std::string>("\x8c\x02hi."), "hi");
}

TEST(Pickle, ReadsContainersAndMemo) {
  const auto list = value<PickleValue::List>("](K\1K\2eK\3a.");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(std::get<int64_t>(list[2].value), 3);
  EXPECT_EQ(value<PickleValue::List>("K\1K\2K\3\x87.").size(), 3u);
  EXPECT_EQ(value<PickleValue::List>(").").size(), 0u);
  // {"a": 1, 7: x, "b": x} with x = [] put into the memo before it is filled.
  const auto dict =
      value<PickleValue::Dict>("}" + text("a") + "K\1s(K\7]q\5K\2a" + text("b") + "h\5u.");
  ASSERT_EQ(dict.size(), 3u);
  EXPECT_EQ(dict[1].first, "7");
  EXPECT_EQ(std::get<PickleValue::List>(dict[2].second.value).size(), 1u);
}

TEST(Pickle, ReadsProtocol4) {
  const std::string body =
      "\x8c\x0b"
      "collections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94.";
  const std::string framed = "\x80\x04\x95" + little(uint64_t{body.size()}) + body;
  EXPECT_TRUE(value<PickleValue::Dict>(framed).empty());
}

TEST(Pickle, OrderedDictsMayCarryAttributesAndPairs) {
  const std::string ordered = "ccollections\nOrderedDict\n";
  const auto dict =
      value<PickleValue::Dict>(ordered + ")R" + text("a") + "K\1s}" + text("_metadata") + "}sb.");
  ASSERT_EQ(dict.size(), 1u);
  EXPECT_EQ(value<PickleValue::Dict>(ordered + "](" + text("k") + "K\1\x86" + "e\x85R.").size(),
            1u);
  EXPECT_THAT(refusal("}}b."), HasSubstr("OrderedDict"));
  EXPECT_NE(refusal("]}b."), "");
  EXPECT_NE(refusal(ordered + "K\1\x85R."), "");
}

TEST(Pickle, ReadsTensorsOfEveryType) {
  const std::vector<std::pair<std::string, DType>> types = {
      {"DoubleStorage", DType::f64},    {"FloatStorage", DType::f32}, {"HalfStorage", DType::f16},
      {"BFloat16Storage", DType::bf16}, {"LongStorage", DType::i64},  {"IntStorage", DType::i32},
      {"ShortStorage", DType::i16},     {"CharStorage", DType::i8},   {"ByteStorage", DType::u8},
      {"BoolStorage", DType::boolean}};
  for (const auto& [name, dtype] : types) {
    const StoredTensor t = stored(tensor(storage(name, "k", 7), 1, {2, 3}, {3, 1}));
    EXPECT_EQ(t.dtype, dtype);
    EXPECT_EQ(t.storage, "k");
    EXPECT_EQ(t.elements, 7);
    EXPECT_EQ(t.offset, 1);
    EXPECT_THAT(t.shape, ElementsAre(2, 3));
    EXPECT_THAT(t.stride, ElementsAre(3, 1));
    EXPECT_EQ(storage_name(dtype), name);
  }
}

TEST(Pickle, AParameterIsItsTensor) {
  const std::string data = tensor(storage("FloatStorage", "0", 6), 0, {6}, {1});
  const std::string call = "ctorch._utils\n_rebuild_parameter\n(";
  EXPECT_EQ(stored(call + data +
                   "\x88"
                   "ccollections\nOrderedDict\n)RtR")
                .elements,
            6);
  EXPECT_NE(refusal(call + "N\x88NtR."), "");
  EXPECT_NE(refusal(call + data + "tR."), "");
}

TEST(Pickle, RefusesForeignGlobalsByName) {
  EXPECT_THAT(refusal("cos\nsystem\n" + text("true") + "\x85R."),
              ::testing::AllOf(HasSubstr("os.system"), HasSubstr("state_dict")));
  EXPECT_THAT(refusal("\x8c\x05posix\x8c\x06system\x93."), HasSubstr("posix.system"));
  EXPECT_THAT(refusal("c__builtin__\neval\n."), HasSubstr("__builtin__.eval"));
  EXPECT_THAT(refusal("crefactor.core\nNet\n)\x81."), HasSubstr("refactor.core.Net"));
  // A name split so that it reads like an allowed one is one: the same characters.
  EXPECT_THAT(refusal("ctorch\nFloatStorage.evil\n."), HasSubstr("FloatStorage.evil"));
}

/// What a dictionary with one key holds under it.
PickleValue beside(const std::string& item) {
  return value<PickleValue::Dict>("}" + text("k") + item + "s.").at(0).second;
}
std::string class_of(const std::string& item) {
  return std::get<OpaqueValue>(beside(item).value).of;
}

TEST(Pickle, WhatIsNotReadIsOpaqueAndNeverCalled) {
  EXPECT_EQ(class_of("cos\nsystem\n" + text("true") + "\x85R"), "os.system");
  EXPECT_EQ(class_of("cpathlib\nPosixPath\n(" + text("/") + text("x") + "tR"), "pathlib.PosixPath");
  // A defaultdict with items, an object with a state, one made of named arguments.
  EXPECT_EQ(class_of("ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(" + text("a") + "K\1u"),
            "collections.defaultdict");
  EXPECT_EQ(class_of("cargparse\nNamespace\n)\x81}" + text("lr") + "K\1sb"), "argparse.Namespace");
  EXPECT_EQ(class_of("cx\nY\n)}\x92"), "x.Y");
  EXPECT_EQ(class_of("c__builtin__\nset\n](K\1K\2e\x85R"), "__builtin__.set");
  EXPECT_EQ(class_of("\x8f(K\1K\2\x90"), "set");
  EXPECT_EQ(class_of("(K\1K\2\x91"), "frozenset");
  EXPECT_EQ(class_of("C\3abc"), "bytes");
  EXPECT_EQ(class_of("}(K\1K\2\x86Nu"), "dict with a key that is a tuple");
  EXPECT_THAT(class_of("\x8a\x09"
                       "123456789"),
              HasSubstr("64 bits"));
  // A tensor of elements that are not read, and what is called with one.
  EXPECT_EQ(class_of(tensor(storage("ComplexFloatStorage", "0", 6), 0, {6}, {1})),
            "torch.ComplexFloatStorage");
  // What stands beside is read.
  const auto both = value<PickleValue::Dict>("}(" + text("a") + "cx\nY\n)R" + text("b") + "K\7u.");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(std::get<int64_t>(both[1].second.value), 7);
  EXPECT_NE(refusal("}" + text("k") + "cx\nY\nK\1Rs."), "");  // arguments that are no tuple
  EXPECT_NE(refusal("K\1)\x81."), "");
}

/// numpy.core.multiarray.scalar(dtype(code), bytes), as protocol 2 has it.
std::string numpy(const std::string& module, const std::string& code, const std::string& order,
                  const std::string& latin1) {
  return "c" + module + "\nscalar\n(cnumpy\ndtype\n(" + text(code) + "\x89\x88tR(K\3" +
         text(order) + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"s + "c_codecs\nencode\n(" +
         text(latin1) + text("latin1") + "tRtR";
}

TEST(Pickle, NumPysScalarsAreNumbers) {
  // 0.1, whose bytes 9a 99 99 99 99 99 b9 3f are characters of two bytes from 0x80 on.
  const std::string tenth = "\xc2\x9a\xc2\x99\xc2\x99\xc2\x99\xc2\x99\xc2\x99\xc2\xb9?";
  for (const char* module : {"numpy.core.multiarray", "numpy._core.multiarray"}) {
    EXPECT_EQ(std::get<double>(beside(numpy(module, "f8", "<", tenth)).value), 0.1);
  }
  const std::string big = "?\xc2\xb9\xc2\x99\xc2\x99\xc2\x99\xc2\x99\xc2\x99\xc2\x9a";
  const std::string core = "numpy.core.multiarray";
  EXPECT_EQ(std::get<double>(beside(numpy(core, "f8", ">", big)).value), 0.1);
  EXPECT_EQ(std::get<double>(beside(numpy(core, "f4", "<", "\0\0\xc3\x80?"s)).value), 1.5);
  EXPECT_EQ(std::get<double>(beside(numpy(core, "f2", "<", "\0>"s)).value), 1.5);
  EXPECT_EQ(std::get<int64_t>(beside(numpy(core, "i2", "<", "\xc3\xbe\xc3\xbf")).value), -2);
  EXPECT_EQ(std::get<int64_t>(beside(numpy(core, "u1", "|", "\xc3\xbf")).value), 255);
  EXPECT_EQ(std::get<bool>(beside(numpy(core, "b1", "|", "\1")).value), true);
  EXPECT_EQ(class_of(numpy(core, "c16", "<", tenth + tenth)), "numpy.generic");
  EXPECT_EQ(class_of(numpy(core, "f8", "<", "short")), "numpy.generic");
  EXPECT_EQ(class_of(numpy(core, "u8", "<", tenth.substr(0, 12) + "\0\xc3\xbf"s)),
            "numpy.generic");  // beyond 2^63
}

TEST(Pickle, NamesAndListsThatAreRepeatedDoNotGrow) {
  // A class whose module is a long text, named a hundred times: 5 bytes each.
  std::string names = "](" + text(std::string(5000, 'm')) + "q\1" + text("C") + "q\2";
  for (int i = 0; i < 100; ++i) names += "h\1h\2\x93";
  const auto list = value<PickleValue::List>(names + "e.");
  EXPECT_EQ(std::get<OpaqueValue>(list.at(2).value).of.size(), 102u);
  // A list of pairs that becomes an OrderedDict again and again.
  std::string grown = "](](";
  for (int i = 0; i < 100; ++i) grown += integer(i) + "K\1\x86";
  grown += "eq\1";
  for (int i = 0; i < 100; ++i) grown += "ccollections\nOrderedDict\nh\1\x85R";
  EXPECT_THAT(refusal(grown + "e."), HasSubstr("grows"));
}

TEST(Pickle, RefusesCallsOfWhatIsNoFunction) {
  EXPECT_THAT(refusal("ctorch\nFloatStorage\n)R."), HasSubstr("FloatStorage"));
  EXPECT_NE(refusal("K\1)R."), "");
  EXPECT_NE(refusal("ccollections\nOrderedDict\n]R."), "");
  EXPECT_NE(refusal("ctorch\nFloatStorage\n."), "");              // a class as a value
  EXPECT_NE(refusal(storage("FloatStorage", "0", 1) + "."), "");  // a storage as a value
}

TEST(Pickle, RefusesOtherOpcodesByNumber) {
  for (const char opcode :
       {'0', '1', '2', 'F', 'I', 'L', 'S', 'U', 'i', 'o', 'P', '\x82', '\x97', '\xff', '\0'}) {
    EXPECT_THAT(refusal("NN" + std::string(1, opcode) + "."), HasSubstr("opcode 0x"));
  }
}

TEST(Pickle, RefusesTruncationAtEveryByte) {
  const std::string whole = "\x80\x02}(" + text("w") +
                            tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1}) + "q\1u.";
  EXPECT_EQ(refusal(whole), "");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(refusal(std::string_view(whole).substr(0, length)), "") << length;
  }
  EXPECT_NE(refusal(whole + "N"), "");
}

TEST(Pickle, RefusesBrokenStacks) {
  for (const char* pickle :
       {".",     "NN.",  "(.",         "N(.",  "t.",    "\x85.", "}s.",    "}Ns.",
        "}(Nu.", "u.",   "]a.",        "Na.",  "NNNs.", "R.",    "Q.",     "b.",
        "q",     "h\1.", "j\1\1\1\1.", "q\1.", "\x94.", "(q\1.", "N(\x85."}) {
    EXPECT_NE(refusal(pickle), "") << pickle;
  }
}

TEST(Pickle, RefusesLengthsBeyondTheData) {
  EXPECT_NE(refusal("X\xff\xff\xff\xff"
                    "abc."),
            "");
  EXPECT_NE(refusal("\x8c\xff"
                    "abc."),
            "");
  EXPECT_NE(refusal("\x8a\xff"
                    "abc."),
            "");
  EXPECT_THAT(refusal("\x8a\x09"
                      "123456789."),
              HasSubstr("64 bits"));
  EXPECT_NE(refusal("\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), "");
  EXPECT_NE(refusal("cno newline"), "");
  EXPECT_NE(refusal("\x80\x01N."), "");
  EXPECT_NE(refusal("\x80\x06N."), "");
}

TEST(Pickle, RefusesTensorsOutsideTheirStorage) {
  EXPECT_EQ(layout(0, {2, 3}, {3, 1}), "");
  EXPECT_EQ(layout(6, {0}, {1}), "");  // nothing, at the end
  EXPECT_NE(layout(0, {7}, {1}), "");
  EXPECT_NE(layout(1, {6}, {1}), "");
  EXPECT_NE(layout(7, {0}, {1}), "");
  EXPECT_NE(layout(-1, {2}, {1}), "");
  EXPECT_NE(layout(0, {2}, {6}), "");
  EXPECT_NE(layout(5, {2}, {-1}), "");
  EXPECT_NE(layout(0, {-2}, {1}), "");
  EXPECT_NE(layout(0, {2, 3}, {1}), "");
  EXPECT_THAT(layout(0, {INT64_MAX}, {1}), HasSubstr("within the 6 elements"));
  EXPECT_THAT(layout(0, {INT64_MAX}, {INT64_MAX}), HasSubstr("overflow"));
  EXPECT_THAT(layout(0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0}), HasSubstr("overflow"));
}

TEST(Pickle, RefusesMalformedStorages) {
  EXPECT_NE(refusal("NQ."), "");
  EXPECT_NE(refusal(")Q."), "");
  EXPECT_THAT(refusal(storage("UntypedStorage", "0", 1) + "."), HasSubstr("UntypedStorage"));
  EXPECT_NE(refusal(storage("FloatStorage", "0", -1) + "."), "");
  EXPECT_NE(
      refusal("(" + text("module") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\1tQ."),
      "");
  EXPECT_NE(refusal("(" + text("storage") + "ccollections\nOrderedDict\n" + text("0") +
                    text("cpu") + "K\1tQ."),
            "");
  EXPECT_THAT(
      refusal("(" + storage("FloatStorage", "0", 1) + storage("LongStorage", "0", 1) + "t."),
      HasSubstr("one type and size"));
}

TEST(Pickle, RefusesKeysTwiceAndKeysThatAreNoText) {
  EXPECT_THAT(refusal("}(" + text("a") + "N" + text("a") + "Nu."), HasSubstr("each key once"));
  EXPECT_THAT(refusal("}(K\1N" + text("1") + "Nu."), HasSubstr("each key once"));
  EXPECT_NE(refusal("}NNs."), "");
  EXPECT_NE(refusal("})Ns."), "");
}

TEST(Pickle, RefusesDepthCyclesAndExplosions) {
  std::string deep;
  for (int i = 0; i < 128; ++i) deep += "]";
  EXPECT_EQ(refusal(deep + "]" + std::string(128, 'a') + "."), "");
  EXPECT_THAT(refusal(deep + "]]" + std::string(129, 'a') + "."), HasSubstr("128"));
  EXPECT_NE(refusal("]q\1h\1a."), "");
  EXPECT_NE(refusal("}q\1" + text("a") + "h\1s."), "");
  // 60 lists, each holding the one before twice: 2^60 values from 300 bytes.
  std::string laughs = "(]";
  for (int i = 0; i < 60; ++i) laughs += "q\1](h\1h\1e"s;
  EXPECT_THAT(refusal(laughs + "t."), HasSubstr("shared"));
  // One long string 40,000 times.
  std::string echo = "](" + text(std::string(2000, 'x')) + "q\1";
  for (int i = 0; i < 40'000; ++i) echo += "h\1";
  EXPECT_THAT(refusal(echo + "e."), HasSubstr("shared"));
}

TEST(Pickle, RefusesMoreThan16MiB) {
  EXPECT_THAT(refusal(std::string((size_t{16} << 20) + 1, ']')), HasSubstr("at most"));
}

}  // namespace
}  // namespace scute::pickle_test
