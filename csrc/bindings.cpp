// The only file that knows Python. Tensors arrive as addresses and sizes; Python has validated them and
// allocated the outputs. One m.def an entry point, the interpreter lock released around each.
#include <pybind11/pybind11.h>

#include "cpu/kernels.h"
#include "ops/align.h"
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

template <typename T>
void bind_typed(py::module_& m, const std::string& suffix) {
  using Release = py::call_guard<py::gil_scoped_release>;

  m.def(("onehot_conv1d_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address weight, Address bias, Address out, int64_t batch,
           int64_t length, int64_t filters, int64_t width, int64_t pad_left, int64_t pad_right, int threads) {
          cpu::onehot_conv1d<T>({{batch, length, filters, width, pad_left, pad_right},
                                 at<const uint8_t>(codes),
                                 codes_stride,
                                 at<const T>(weight),
                                 at<const T>(bias),
                                 at<T>(out),
                                 threads});
        },
        Release());

  m.def(("onehot_conv1d_backward_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address grad, Address grad_weight, Address grad_bias,
           int64_t batch, int64_t length, int64_t filters, int64_t width, int64_t pad_left, int64_t pad_right,
           int threads) {
          cpu::onehot_conv1d_backward<T>({{batch, length, filters, width, pad_left, pad_right},
                                          at<const uint8_t>(codes),
                                          codes_stride,
                                          at<const T>(grad),
                                          at<double>(grad_weight),
                                          at<double>(grad_bias),
                                          threads});
        },
        Release());

  m.def(("conv_pool_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address weight, Address bias, Address norm_weight,
           Address norm_bias, Address mean, Address variance, double eps, bool of_batch, Address out,
           Address kept, int64_t batch, int64_t length, int64_t filters, int64_t width, int64_t pad_left,
           int64_t pad_right, int64_t pool_size, int64_t pool_stride, int64_t pool_padding,
           int64_t pool_length, bool minimum, bool relu, int threads) {
          cpu::conv_pool<T>({{batch, length, filters, width, pad_left, pad_right},
                             {pool_size, pool_stride, pool_padding, pool_length},
                             {at<const T>(bias), at<const T>(norm_weight), at<const T>(norm_bias),
                              at<const T>(mean), at<const T>(variance), eps, of_batch},
                             at<const uint8_t>(codes),
                             codes_stride,
                             at<const T>(weight),
                             minimum,
                             relu ? Activation::kRelu : Activation::kIdentity,
                             at<T>(out),
                             at<void>(kept),
                             threads});
        },
        Release());

  m.def(("conv_pool_backward_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address weight, Address bias, Address norm_weight,
           Address mean, Address variance, double eps, bool of_batch, Address grad, Address kept,
           Address weight_cov, Address gram, Address grad_weight, Address grads, int64_t batch,
           int64_t length, int64_t filters, int64_t width, int64_t pad_left, int64_t pad_right,
           int64_t pool_size, int64_t pool_stride, int64_t pool_padding, int64_t pool_length, int threads) {
          T* per_filter = at<T>(grads);  // (3, filters): bias, norm_weight, norm_bias
          cpu::conv_pool_backward<T>({{batch, length, filters, width, pad_left, pad_right},
                                      {pool_size, pool_stride, pool_padding, pool_length},
                                      {at<const T>(bias), at<const T>(norm_weight), nullptr,
                                       at<const T>(mean), at<const T>(variance), eps, of_batch},
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
                                      threads});
        },
        Release());

  m.def(("batch_statistics_" + suffix).c_str(),
        [](int64_t filters, int64_t features, int64_t windows, Address weight, Address gram, Address mean,
           Address variance, Address weight_cov, int threads) {
          cpu::batch_statistics<T>({filters, features, windows, at<const T>(weight), at<const int64_t>(gram),
                                    at<T>(mean), at<T>(variance), at<double>(weight_cov), threads});
        },
        Release());

  m.def(("max_pool1d_" + suffix).c_str(),
        [](Address x, Address out, Address indices, int64_t rows, int64_t length, int64_t size,
           int64_t stride, int64_t padding, int64_t out_length, int threads) {
          cpu::max_pool1d<T>({{size, stride, padding, out_length},
                              rows,
                              length,
                              at<const T>(x),
                              at<T>(out),
                              at<int64_t>(indices),
                              threads});
        },
        Release());

  m.def(("max_pool1d_backward_" + suffix).c_str(),
        [](Address grad, Address indices, Address grad_x, int64_t rows, int64_t length, int64_t out_length,
           int threads) {
          cpu::max_pool1d_backward<T>({rows, length, out_length, at<const T>(grad),
                                       at<const int64_t>(indices), at<T>(grad_x), threads});
        },
        Release());

  m.def(("scan_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address weight, Address bias, Address score, Address position,
           Address strand, int64_t batch, int64_t length, int64_t filters, int64_t width, int64_t pad_left,
           int64_t pad_right, int strands, int threads) {
          cpu::scan<T>({{batch, length, filters, width, pad_left, pad_right},
                        at<const uint8_t>(codes),
                        codes_stride,
                        at<const T>(weight),
                        at<const T>(bias),
                        static_cast<Strands>(strands),
                        at<T>(score),
                        at<int64_t>(position),
                        at<int8_t>(strand),
                        threads});
        },
        Release());

  m.def(("scan_hits_" + suffix).c_str(),
        [](Address codes, int64_t codes_stride, Address weight, Address bias, Address threshold,
           int64_t batch, int64_t length, int64_t filters, int64_t width, int64_t pad_left, int64_t pad_right,
           int strands, int64_t max_per_sequence, int64_t capacity, Address sequence, Address filter,
           Address position, Address strand, Address score, int threads) {
          return cpu::scan_hits<T>({{batch, length, filters, width, pad_left, pad_right},
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
                                    threads});
        },
        Release());

  m.def(("onehot_to_codes_" + suffix).c_str(),
        [](Address x, int64_t batch, int64_t length, Address codes, int threads) {
          return cpu::onehot_to_codes<T>(at<const T>(x), batch, length, at<uint8_t>(codes), threads);
        },
        Release());
}

}  // namespace
}  // namespace motifkit

PYBIND11_MODULE(_C, m) {
  using namespace motifkit;
  using Release = py::call_guard<py::gil_scoped_release>;
  m.doc() = "motifkit's kernels on raw addresses; use motifkit.ops";
  bind_typed<float>(m, "float32");
  bind_typed<double>(m, "float64");

  m.def("padded_filters", &padded_filters);
  m.def(
      "window_counts",
      [](Address codes, int64_t codes_stride, Address gram, int64_t batch, int64_t length, int64_t width,
         int64_t pad_left, int64_t pad_right, int threads) {
        cpu::window_counts({{batch, length, 0, width, pad_left, pad_right},
                            at<const uint8_t>(codes),
                            codes_stride,
                            at<int64_t>(gram),
                            threads});
      },
      Release());
  m.def(
      "align",
      [](int64_t batch, int64_t length, int64_t hits, int64_t filters, int64_t width, int64_t offset,
         Address codes, int64_t codes_stride, Address sequence, Address filter, Address position,
         Address strand, Address weights, Address counts) {
        cpu::align({batch, length, hits, filters, width, offset, at<const uint8_t>(codes), codes_stride,
                    at<const int64_t>(sequence), at<const int64_t>(filter), at<const int64_t>(position),
                    at<const int8_t>(strand), at<const double>(weights), at<double>(counts)});
      },
      Release());
  m.def("instruction_set", &cpu::instruction_set);
  m.def("available_instruction_sets", &cpu::available_instruction_sets);
  m.def("use_instruction_set", &cpu::use_instruction_set);
#ifdef MK_CUDA_ARCHITECTURES
  m.attr("cuda_architectures") = MK_CUDA_ARCHITECTURES;
#else
  m.attr("cuda_architectures") = "";
#endif
}
