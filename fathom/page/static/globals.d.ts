/** uPlot 1.6, which `vendor/uPlot.iife.min.js` puts here. */
declare const uPlot: any;
