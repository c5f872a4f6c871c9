// The only file that knows Python. Tensors arrive as addresses and sizes; Python has validated them and
// allocated the outputs. One m.def an entry point, the interpreter lock released around each.
#include <pybind11/pybind11.h>

#include "cpu/kernels.h"
#include "ops/align.h"
#include "ops/align_above.h"
#include "ops/codes.h"
#include "ops/conv_pool.h"
#include "ops/max_pool1d.h"
#include "ops/onehot_conv1d.h"
#include "ops/scan.h"
#include "ops/window_counts.h"

namespace py = pybind11;

namespace motifkit {
namespace {

using Address = uintptr_t;  // 0 stands for an absent tensor

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// What an argument list becomes: a Params struct. Every entry point of an op takes the same list; those on a
// GPU take scratch memory, a stream and a device after it, and `<op>_scratch` says how many bytes of scratch.
template <typename Params, typename... Arguments>
using Make = Params (*)(Arguments...);

#ifndef MK_EMULATE
template <typename Result, typename Params, typename... Arguments>
void bind_cpu(py::module_& m, const std::string& name, Make<Params, Arguments...> make,
              Result (*run)(const Params&)) {
  m.def(
      name.c_str(), [=](Arguments... arguments) { return run(make(arguments...)); },
      py::call_guard<py::gil_scoped_release>());
}
#endif

#ifdef MK_CUDA_ARCHITECTURES
cuda::Call call_of(Address scratch, Address stream, int device) {
  return {at<void>(scratch), at<void>(stream), device};
}

template <typename Params, typename... Arguments>
void bind_cuda(py::module_& m, const std::string& op, const std::string& type,
               Make<Params, Arguments...> make, void (*run)(const Params&, const cuda::Call&),
               int64_t (*scratch)(const Params&, int) = nullptr) {
  m.def(("cuda_" + op + type).c_str(),
        [=](Arguments... arguments, Address memory, Address stream, int device) {
          run(make(arguments...), call_of(memory, stream, device));
        },
        py::call_guard<py::gil_scoped_release>());
  if (scratch != nullptr)
    m.def(("cuda_" + op + "_scratch" + type).c_str(),
          [=](Arguments... arguments, int device) { return scratch(make(arguments...), device); });
}

// As bind_cuda, for ops that take one more array than their Params hold.
template <typename Params, typename Element, typename... Arguments>
void bind_cuda_with(py::module_& m, const std::string& op, const std::string& type,
                    Make<Params, Arguments...> make, void (*run)(const Params&, Element*, const cuda::Call&),
                    int64_t (*scratch)(const Params&, int)) {
  m.def(("cuda_" + op + type).c_str(),
        [=](Arguments... arguments, Address more, Address memory, Address stream, int device) {
          run(make(arguments...), at<Element>(more), call_of(memory, stream, device));
        },
        py::call_guard<py::gil_scoped_release>());
  m.def(("cuda_" + op + "_scratch" + type).c_str(),
        [=](Arguments... arguments, Address, int device) { return scratch(make(arguments...), device); });
}
#endif

template <typename T>
OneHotConvParams<T> onehot_conv1d_params(Address codes, int64_t codes_stride, Address weight, Address bias,
                                         Address out, int64_t batch, int64_t length, int64_t filters,
                                         int64_t width, int64_t pad_left, int64_t pad_right, int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(bias),
          at<T>(out),
          threads};
}

template <typename T>
OneHotConvGradParams<T> onehot_conv1d_backward_params(Address codes, int64_t codes_stride, Address grad,
                                                      Address grad_weight, Address grad_bias, int64_t batch,
                                                      int64_t length, int64_t filters, int64_t width,
                                                      int64_t pad_left, int64_t pad_right, int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(grad),
          at<double>(grad_weight),
          at<double>(grad_bias),
          threads};
}

template <typename T>
ConvPoolParams<T> conv_pool_params(Address codes, int64_t codes_stride, Address weight, Address bias,
                                   Address norm_weight, Address norm_bias, Address mean, Address variance,
                                   double eps, int64_t norm_windows, Address out, Address kept, int64_t batch,
                                   int64_t length, int64_t filters, int64_t width, int64_t pad_left,
                                   int64_t pad_right, int64_t pool_size, int64_t pool_stride,
                                   int64_t pool_padding, int64_t pool_length, bool minimum, bool relu,
                                   int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          {pool_size, pool_stride, pool_padding, pool_length},
          {at<const T>(bias), at<const T>(norm_weight), at<const T>(norm_bias), at<const T>(mean),
           at<const T>(variance), eps, norm_windows},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          minimum,
          relu ? Activation::kRelu : Activation::kIdentity,
          at<T>(out),
          at<void>(kept),
          threads};
}

template <typename T>
ConvPoolGradParams<T> conv_pool_backward_params(
    Address codes, int64_t codes_stride, Address weight, Address bias, Address norm_weight, Address mean,
    Address variance, double eps, int64_t norm_windows, Address grad, Address kept, Address weight_cov,
    Address gram, Address grad_weight, Address grads, int64_t batch, int64_t length, int64_t filters,
    int64_t width, int64_t pad_left, int64_t pad_right, int64_t pool_size, int64_t pool_stride,
    int64_t pool_padding, int64_t pool_length, int threads) {
  T* per_filter = at<T>(grads);  // (3, filters): bias, norm_weight, norm_bias
  return {{batch, length, filters, width, pad_left, pad_right},
          {pool_size, pool_stride, pool_padding, pool_length},
          {at<const T>(bias), at<const T>(norm_weight), nullptr, at<const T>(mean), at<const T>(variance),
           eps, norm_windows},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(grad),
          at<const void>(kept),
          at<const double>(weight_cov),
          at<const int64_t>(gram),
          at<T>(grad_weight),
          per_filter,
          per_filter + filters,
          per_filter + 2 * filters,
          threads};
}

template <typename T>
BatchStatisticsParams<T> batch_statistics_params(int64_t filters, int64_t features, int64_t windows,
                                                 Address weight, Address gram, Address mean, Address variance,
                                                 Address weight_cov, Address bias, Address running_mean,
                                                 Address running_var, double momentum, int threads) {
  return {filters,
          features,
          windows,
          at<const T>(weight),
          at<const int64_t>(gram),
          at<T>(mean),
          at<T>(variance),
          at<double>(weight_cov),
          {at<const T>(bias), at<T>(running_mean), at<T>(running_var), momentum},
          threads};
}

template <typename T>
MaxPoolParams<T> max_pool1d_params(Address x, Address out, Address indices, int64_t rows, int64_t length,
                                   int64_t size, int64_t stride, int64_t padding, int64_t out_length,
                                   int threads) {
  return {{size, stride, padding, out_length},
          rows,
          length,
          at<const T>(x),
          at<T>(out),
          at<int64_t>(indices),
          threads};
}

template <typename T>
MaxPoolGradParams<T> max_pool1d_backward_params(Address grad, Address indices, Address grad_x, int64_t rows,
                                                int64_t length, int64_t out_length, int threads) {
  return {rows, length, out_length, at<const T>(grad), at<const int64_t>(indices), at<T>(grad_x), threads};
}

template <typename T>
ScanParams<T> scan_params(Address codes, int64_t codes_stride, Address weight, Address bias, Address score,
                          Address position, Address strand, int64_t batch, int64_t length, int64_t filters,
                          int64_t width, int64_t pad_left, int64_t pad_right, int strands, int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(bias),
          static_cast<Strands>(strands),
          at<T>(score),
          at<int64_t>(position),
          at<int8_t>(strand),
          threads};
}

template <typename T>
ScanHitsParams<T> scan_hits_params(Address codes, int64_t codes_stride, Address weight, Address bias,
                                   Address threshold, int64_t batch, int64_t length, int64_t filters,
                                   int64_t width, int64_t pad_left, int64_t pad_right, int strands,
                                   int64_t max_per_sequence, int64_t capacity, Address sequence,
                                   Address filter, Address position, Address strand, Address score,
                                   int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(bias),
          at<const T>(threshold),
          static_cast<Strands>(strands),
          max_per_sequence,
          capacity,
          at<int64_t>(sequence),
          at<int64_t>(filter),
          at<int64_t>(position),
          at<int8_t>(strand),
          at<T>(score),
          threads};
}

template <typename T>
ScanSummaryParams<T> scan_summary_params(Address codes, int64_t codes_stride, Address weight, Address bias,
                                         Address largest, Address total, int64_t batch, int64_t length,
                                         int64_t filters, int64_t width, int64_t pad_left, int64_t pad_right,
                                         int strands, bool relu, int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(bias),
          static_cast<Strands>(strands),
          relu,
          at<T>(largest),
          at<double>(total),
          threads};
}

template <typename T>
AlignAboveParams<T> align_above_params(Address codes, int64_t codes_stride, Address weight, Address bias,
                                       Address threshold, int64_t batch, int64_t length, int64_t filters,
                                       int64_t width, int64_t pad_left, int64_t pad_right, int strands,
                                       int weighing, int64_t shown, bool whole, bool known, Address counts,
                                       Address number, Address total, int threads) {
  return {{batch, length, filters, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(weight),
          at<const T>(bias),
          at<const T>(threshold),
          static_cast<Strands>(strands),
          static_cast<Weighing>(weighing),
          shown,
          whole,
          known,
          at<double>(counts),
          at<int64_t>(number),
          at<double>(total),
          threads};
}

template <typename T>
AlignBestParams<T> align_best_params(Address codes, int64_t codes_stride, Address score, Address position,
                                     Address strand, Address threshold, int64_t batch, int64_t length,
                                     int64_t filters, int64_t width, int weighing, int64_t shown, bool whole,
                                     bool known, Address counts, Address number, Address total, int threads) {
  return {batch,
          length,
          filters,
          width,
          at<const uint8_t>(codes),
          codes_stride,
          at<const T>(score),
          at<const int64_t>(position),
          at<const int8_t>(strand),
          at<const T>(threshold),
          static_cast<Weighing>(weighing),
          shown,
          whole,
          known,
          at<double>(counts),
          at<int64_t>(number),
          at<double>(total),
          threads};
}

WindowCountsParams window_counts_params(Address codes, int64_t codes_stride, Address gram, int64_t batch,
                                        int64_t length, int64_t width, int64_t pad_left, int64_t pad_right,
                                        int threads) {
  return {{batch, length, 0, width, pad_left, pad_right},
          at<const uint8_t>(codes),
          codes_stride,
          at<int64_t>(gram),
          threads};
}

AlignParams align_params(int64_t batch, int64_t length, int64_t hits, int64_t filters, int64_t width,
                         int64_t offset, Address codes, int64_t codes_stride, Address sequence,
                         Address filter, Address position, Address strand, Address weights, Address counts) {
  return {batch,
          length,
          hits,
          filters,
          width,
          offset,
          at<const uint8_t>(codes),
          codes_stride,
          at<const int64_t>(sequence),
          at<const int64_t>(filter),
          at<const int64_t>(position),
          at<const int8_t>(strand),
          at<const double>(weights),
          at<double>(counts)};
}

#ifndef MK_EMULATE  // the emulated module holds the CUDA entry points alone
template <typename T>
void bind_cpu_ops(py::module_& m, const std::string& type) {
  bind_cpu(m, "onehot_conv1d" + type, onehot_conv1d_params<T>, cpu::onehot_conv1d<T>);
  bind_cpu(m, "onehot_conv1d_backward" + type, onehot_conv1d_backward_params<T>,
           cpu::onehot_conv1d_backward<T>);
  bind_cpu(m, "conv_pool" + type, conv_pool_params<T>, cpu::conv_pool<T>);
  bind_cpu(m, "conv_pool_backward" + type, conv_pool_backward_params<T>, cpu::conv_pool_backward<T>);
  bind_cpu(m, "batch_statistics" + type, batch_statistics_params<T>, cpu::batch_statistics<T>);
  bind_cpu(m, "max_pool1d" + type, max_pool1d_params<T>, cpu::max_pool1d<T>);
  bind_cpu(m, "max_pool1d_backward" + type, max_pool1d_backward_params<T>, cpu::max_pool1d_backward<T>);
  bind_cpu(m, "scan" + type, scan_params<T>, cpu::scan<T>);
  bind_cpu(m, "scan_hits" + type, scan_hits_params<T>, cpu::scan_hits<T>);
  bind_cpu(m, "scan_summary" + type, scan_summary_params<T>, cpu::scan_summary<T>);
  bind_cpu(m, "align_above" + type, align_above_params<T>, cpu::align_above<T>);
  bind_cpu(m, "align_best" + type, align_best_params<T>, cpu::align_best<T>);
  m.def(("scan_floor" + type).c_str(),
        [](Address codes, Address weight, Address score, int64_t length, int64_t filters, int64_t width,
           int64_t repeats) {
          return cpu::scan_floor<T>(scan_params<T>(codes, length, weight, 0, score, 0, 0, 1, length, filters,
                                                   width, 0, 0, static_cast<int>(Strands::kBoth), 1),
                                    repeats);
        },
        py::call_guard<py::gil_scoped_release>());
  m.def(("onehot_to_codes" + type).c_str(),
        [](Address x, int64_t batch, int64_t length, Address codes, int threads) {
          return cpu::onehot_to_codes<T>(at<const T>(x), batch, length, at<uint8_t>(codes), threads);
        },
        py::call_guard<py::gil_scoped_release>());
}
#endif

#ifdef MK_CUDA_ARCHITECTURES
template <typename T>
void bind_cuda_ops(py::module_& m, const std::string& type) {
  bind_cuda(m, "onehot_conv1d", type, onehot_conv1d_params<T>, cuda::onehot_conv1d<T>,
            cuda::onehot_conv1d_scratch<T>);
  bind_cuda(m, "onehot_conv1d_backward", type, onehot_conv1d_backward_params<T>,
            cuda::onehot_conv1d_backward<T>, cuda::onehot_conv1d_backward_scratch<T>);
  bind_cuda(m, "conv_pool", type, conv_pool_params<T>, cuda::conv_pool<T>, cuda::conv_pool_scratch<T>);
  bind_cuda(m, "conv_pool_backward", type, conv_pool_backward_params<T>, cuda::conv_pool_backward<T>,
            cuda::conv_pool_backward_scratch<T>);
  bind_cuda(m, "batch_statistics", type, batch_statistics_params<T>, cuda::batch_statistics<T>,
            cuda::batch_statistics_scratch<T>);
  bind_cuda(m, "max_pool1d", type, max_pool1d_params<T>, cuda::max_pool1d<T>, cuda::max_pool1d_scratch<T>);
  bind_cuda(m, "max_pool1d_backward", type, max_pool1d_backward_params<T>, cuda::max_pool1d_backward<T>);
  bind_cuda(m, "scan", type, scan_params<T>, cuda::scan<T>, cuda::scan_scratch<T>);
  bind_cuda_with(m, "count_hits", type, scan_hits_params<T>, cuda::count_hits<T>,
                 cuda::count_hits_scratch<T>);
  bind_cuda_with(m, "write_hits", type, scan_hits_params<T>, cuda::write_hits<T>,
                 cuda::write_hits_scratch<T>);
  m.def(("cuda_onehot_to_codes" + type).c_str(),
        [](Address x, int64_t batch, int64_t length, Address codes, int, Address scratch, Address stream,
           int device) {
          cuda::onehot_to_codes<T>(at<const T>(x), batch, length, at<uint8_t>(codes),
                                   call_of(scratch, stream, device));
        },
        py::call_guard<py::gil_scoped_release>());
}
#endif

}  // namespace
}  // namespace motifkit

#ifndef MK_MODULE
#define MK_MODULE _C
#endif

PYBIND11_MODULE(MK_MODULE, m) {
  using namespace motifkit;
  m.doc() = "motifkit's kernels on raw addresses; use motifkit.ops";
  m.def("padded_filters", &padded_filters);
#ifndef MK_EMULATE
  bind_cpu_ops<float>(m, "_float32");
  bind_cpu_ops<double>(m, "_float64");
  bind_cpu(m, "window_counts", window_counts_params, cpu::window_counts);
  bind_cpu(m, "align", align_params, cpu::align);
  m.def("instruction_set", &cpu::instruction_set);
  m.def("available_instruction_sets", &cpu::available_instruction_sets);
  m.def("use_instruction_set", &cpu::use_instruction_set);
#endif
#ifdef MK_CUDA_ARCHITECTURES
  bind_cuda_ops<float>(m, "_float32");
  bind_cuda_ops<double>(m, "_float64");
  bind_cuda(m, "window_counts", "", window_counts_params, cuda::window_counts, cuda::window_counts_scratch);
  bind_cuda_with(m, "align", "", align_params, cuda::align, cuda::align_scratch);
  m.def("cuda_hit_spans", &cuda::hit_spans);
  m.attr("cuda_architectures") = MK_CUDA_ARCHITECTURES;
#else
  m.attr("cuda_architectures") = "";
#endif
}
